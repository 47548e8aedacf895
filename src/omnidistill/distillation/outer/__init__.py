"""Outer objectives: the losses that the outer loop can minimise to learn synthetic rows.

Each objective has its own module. `outer_objectives` lists all objectives by name.
"""

from omnidistill.distillation.outer.outer_objective import (
    AnyOuter,
    Episode,
    Material,
    Outer,
    OuterObjective,
    outer_objectives,
)
from omnidistill.distillation.outer.shortcut import ShortcutMatching, ShortcutObjective
from omnidistill.distillation.outer.task_loss import TaskLoss, TaskObjective, WithTask
from omnidistill.distillation.outer.trajectory import TrajectoryMatching, TrajectoryObjective

__all__ = [
    "AnyOuter",
    "Episode",
    "Material",
    "Outer",
    "OuterObjective",
    "ShortcutMatching",
    "ShortcutObjective",
    "TaskLoss",
    "TaskObjective",
    "TrajectoryMatching",
    "TrajectoryObjective",
    "WithTask",
    "outer_objectives",
]
