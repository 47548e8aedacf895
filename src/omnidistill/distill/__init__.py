"""Distillation: the distilled set, and the outer loop that learns its rows with an outer objective."""

from omnidistill.distill.distilled_set import DistilledSet
from omnidistill.distill.outer import Episode, Outer, ShortcutMatching, TaskLoss, TrajectoryMatching, WithTask
from omnidistill.distill.outer_loop import Distillation, Halt, Judge, Verdict, distill
from omnidistill.distill.provenance import Provenance
from omnidistill.distill.set_spec import SetSpec

__all__ = [
    "Distillation",
    "DistilledSet",
    "Episode",
    "Halt",
    "Judge",
    "Outer",
    "Provenance",
    "SetSpec",
    "ShortcutMatching",
    "TaskLoss",
    "TrajectoryMatching",
    "Verdict",
    "WithTask",
    "distill",
]
