"""Trajectory matching: a student trained on the set should end where an expert does.

    min over rows, S, step sizes of  sum_m ||W_T,m - W*_m||^2 / ||W_0,m - W*_m||^2

Cazenavette et al. 2022; Wu et al. 2024 (MTT-VL), Xu et al. 2024 (LoRS), Zhang et al. 2025 (RepBlend), Gao et al. 2026
(HoPA, eq. 7), Guo et al. 2026 (PTM-ST): which of them follows from student, experts, similarity, target and rollout.
With a task weight, the same student's loss on real rows is a further term. Where experts gain nothing on validation
there is nothing to match: the loop ends before it begins, with its first set.
"""

from __future__ import annotations

import json

from omnidistill.config import TrajectoryConfig
from omnidistill.distill import (
    Distillation,
    DistilledSet,
    Outer,
    ShortcutMatching,
    TaskLoss,
    TrajectoryMatching,
    WithTask,
)
from omnidistill.evaluation.gain import experts_gain_nothing
from omnidistill.io.artifacts import write_atomic
from omnidistill.methods.inferred_settings import settled
from omnidistill.methods.learned import learned
from omnidistill.methods.task import Task

_TARGETS = {"trajectory": TrajectoryMatching, "shortcut": ShortcutMatching}


def match_trajectories(task: Task) -> Distillation:
    """Learn the rows; the set that validates best is kept. Writes the rank floor beside it."""
    buffer = task.experts()
    task = settled(task.of(buffer), buffer)
    settings = task.config.distill
    assert isinstance(settings, TrajectoryConfig)
    own_from = round((1 - settings.own_share) * settings.iterations)
    matching = _TARGETS[settings.target](buffer, settings.num_expert_epochs, settings.max_start_epoch, own_from)
    outer: Outer = matching
    if settings.task_weight:
        loss = TaskLoss(task.development.train, task.start, settings.task.rows, settings.task.tau)
        outer = WithTask(matching, loss, settings.task_weight)
    floors = matching.floor(min(settings.num_rows, settings.num_student_steps * settings.batch))
    write_atomic(task.folder / "floor.json", json.dumps({"floor": floors}).encode())

    def halt(done: int, _: DistilledSet) -> str | None:
        return None if done else experts_gain_nothing(buffer, task.start, task.development.validation)

    return learned(task, outer, halt)
