"""Training heads: expert trajectories on all rows, differentiable rollouts on a synthetic set, closed forms."""
