"""What a command will take, before hours are spent: every stage in full size for a few steps, timed and multiplied."""

from omnidistill.experiments.dry_run.cost_estimate import Foreseen, Stage
from omnidistill.experiments.dry_run.dry_runs import rehearse_comparison, rehearse_distill, rehearse_experts
from omnidistill.experiments.dry_run.encode_stages import rehearse_encode

__all__ = ["Foreseen", "Stage", "rehearse_comparison", "rehearse_distill", "rehearse_encode", "rehearse_experts"]
