"""The theory of HoPA measured on a set: modes, identities, gradients by mode, Lipschitz constants and error bounds."""
