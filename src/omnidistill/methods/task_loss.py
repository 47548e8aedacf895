"""Task-loss matching (ours): a student trained on the set should do its task on real rows.

    min over rows, S, step sizes of  InfoNCE(X~ W_T^T),    W_T = W_0 + A_T^T X    exactly, through all T steps

No experts, no trajectories; see `distill.task_loss`.
"""

from __future__ import annotations

from omnidistill.config import TaskConfig
from omnidistill.distill import Distillation, TaskLoss
from omnidistill.methods.learning import learned
from omnidistill.methods.task import Task


def match_task(task: Task) -> Distillation:
    """Learn the rows; the set that validates best is kept."""
    settings = task.config.distill
    assert isinstance(settings, TaskConfig)
    return learned(task, TaskLoss(task.development.train, task.start, settings.task.rows, settings.task.tau))
