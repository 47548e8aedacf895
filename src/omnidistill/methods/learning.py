"""The end of every method that learns its rows: the outer loop, whose best set on validation is kept."""

from __future__ import annotations

from omnidistill.distill import Distillation, Outer, distill
from omnidistill.evaluation.choosing import judge_set
from omnidistill.methods.task import Task


def learned(task: Task, outer: Outer) -> Distillation:
    """The set that validates best of those that the loop went through, with its number of steps."""
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
