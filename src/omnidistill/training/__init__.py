"""Training of heads: experts on real rows, differentiable rollouts on synthetic sets, and closed-form solutions."""
