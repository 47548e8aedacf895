"""Distillation: the distilled set (a few synthetic rows), and the outer loop that learns these rows."""

from omnidistill.distillation.distilled_set import DistilledSet
from omnidistill.distillation.method_result import Distillation
from omnidistill.distillation.outer import Episode, Outer, ShortcutMatching, TaskLoss, TrajectoryMatching, WithTask
from omnidistill.distillation.outer_loop import StopCriterion, ValidationResult, Validator, distill
from omnidistill.distillation.provenance import Provenance
from omnidistill.distillation.set_spec import SetSpec

__all__ = [
    "Distillation",
    "DistilledSet",
    "Episode",
    "Outer",
    "Provenance",
    "SetSpec",
    "ShortcutMatching",
    "StopCriterion",
    "TaskLoss",
    "TrajectoryMatching",
    "ValidationResult",
    "Validator",
    "WithTask",
    "distill",
]
