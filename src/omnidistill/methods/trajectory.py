"""Trajectory matching: a student trained on the set should end where an expert does.

    min over rows, S, step sizes of  sum_m ||W_T,m - W*_m||^2 / ||W_0,m - W*_m||^2

Cazenavette et al. 2022; Wu et al. 2024 (MTT-VL), Xu et al. 2024 (LoRS), Zhang et al. 2025 (RepBlend), Gao et al. 2026
(HoPA, eq. 7), Guo et al. 2026 (PTM-ST): which of them follows from student, experts, similarity, target and rollout.
"""

from __future__ import annotations

import json

from omnidistill.artifacts import write_atomic
from omnidistill.config import TrajectoryConfig
from omnidistill.distill import Distillation, ShortcutMatching, TrajectoryMatching, distill
from omnidistill.evaluation.choosing import judge_set
from omnidistill.methods.task import Task

_TARGETS = {"trajectory": TrajectoryMatching, "shortcut": ShortcutMatching}


def match_trajectories(task: Task) -> Distillation:
    """Learn the rows; the set that validates best is kept. Writes the rank floor beside it."""
    settings = task.config.distill
    assert isinstance(settings, TrajectoryConfig)
    buffer = task.experts()
    task = task.of(buffer)
    outer = _TARGETS[settings.target](buffer, settings.num_expert_epochs, settings.max_start_epoch)
    floors = outer.floor(min(settings.size, settings.num_student_steps * settings.batch))
    write_atomic(task.folder / "floor.json", json.dumps({"floor": floors}).encode())
    return distill(
        task.development.train,
        outer,
        next(iter(task.start.values())).shape[0],
        task.config,
        task.folder,
        judge=lambda distilled: judge_set(distilled, task.start, task.development.validation),
        identity=task.provenance,
        resume=task.resume,
        progress=task.progress,
    )
