"""Dry runs: estimate the cost of a command by running its stages for a few steps, in memory."""

from omnidistill.experiments.dry_run.cost_estimate import CostEstimate, Stage
from omnidistill.experiments.dry_run.estimates import estimate_comparison, estimate_distill, estimate_experts
from omnidistill.experiments.dry_run.parallel_units import estimate_encoding

__all__ = [
    "CostEstimate",
    "Stage",
    "estimate_comparison",
    "estimate_distill",
    "estimate_encoding",
    "estimate_experts",
]
