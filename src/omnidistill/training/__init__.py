"""Training of heads: expert trajectories on real rows, differentiable rollouts on synthetic sets, and closed forms."""
