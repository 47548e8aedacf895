"""What a command will take, before hours are spent: every stage in full size for a few steps, timed and multiplied."""

from omnidistill.rehearsal.commands import rehearse_comparison, rehearse_distill, rehearse_experts
from omnidistill.rehearsal.encoding import rehearse_encode
from omnidistill.rehearsal.foreseen import Foreseen, Stage

__all__ = ["Foreseen", "Stage", "rehearse_comparison", "rehearse_distill", "rehearse_encode", "rehearse_experts"]
