"""Distillation: the outer loop, what it is judged by, and the set it makes."""

from omnidistill.distill.distilled_set import DistilledSet, Recipe
from omnidistill.distill.outer import Episode, Outer, ShortcutMatching, TrajectoryMatching
from omnidistill.distill.outer_loop import Distillation, Halt, Judge, Verdict, distill
from omnidistill.distill.task_loss import TaskLoss, WithTask

__all__ = [
    "Distillation",
    "DistilledSet",
    "Episode",
    "Halt",
    "Judge",
    "Outer",
    "Recipe",
    "ShortcutMatching",
    "TaskLoss",
    "TrajectoryMatching",
    "Verdict",
    "WithTask",
    "distill",
]
