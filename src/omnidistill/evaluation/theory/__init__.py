"""Quantities in the theory of HoPA, measured on a set: modes, gradients by mode, Lipschitz constants, error bounds."""
