"""Task-loss matching (ours): a student trained on the set should do its task on real rows.

    min over rows, S, step sizes of  InfoNCE(X~ W_T^T),    W_T = W_0 + A_T^T X    exactly, through all T steps

No experts, no trajectories; see `distill.task_loss`. Where students of the best set gain nothing on validation after a
third of the iterations, the loop ends there.
"""

from __future__ import annotations

from omnidistill.config import TaskConfig
from omnidistill.distill import Distillation, DistilledSet, TaskLoss
from omnidistill.evaluation.gain import students_gain_nothing
from omnidistill.methods.inferred_settings import settled
from omnidistill.methods.learned import learned
from omnidistill.methods.task import Task


def match_task(task: Task) -> Distillation:
    """Learn the rows; the set that validates best is kept."""
    task = settled(task)
    settings = task.config.distill
    assert isinstance(settings, TaskConfig)
    third = settings.iterations / 3

    def halt(done: int, best: DistilledSet) -> str | None:
        return None if done < third else students_gain_nothing(best, task.start, task.development.validation)

    return learned(task, TaskLoss(task.development.train, task.start, settings.task.rows, settings.task.tau), halt)
