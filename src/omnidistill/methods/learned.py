"""The end of every method that learns its rows: the outer loop, whose best set on validation is kept.

A validation split of fewer than 20 groups would choose by luck (`evaluation.choosing`): the last set is kept then,
with the matched number of steps. The loop ends early where the method finds that there is nothing to gain.
"""

from __future__ import annotations

from omnidistill.config import LearnedConfig
from omnidistill.distill import Distillation, Halt, Outer, distill
from omnidistill.evaluation.validation import can_choose, doubt, judge_set
from omnidistill.methods.task import Task


def learned(task: Task, outer: Outer, halt: Halt) -> Distillation:
    """The set that validates best of those that the loop went through, with its number of steps."""
    settings, validation = task.config.distill, task.development.validation
    assert isinstance(settings, LearnedConfig)
    chosen, notes = can_choose(validation), []
    if settings.validate_every and (doubtful := doubt(validation)):
        last = f"the last set is kept, with the matched {settings.num_student_steps} steps"
        notes.append(f"{doubtful}; {'the set that it chooses may be the luckiest' if chosen else last}")
    return distill(
        task.development.train,
        outer,
        next(iter(task.start.values())).shape[0],
        task.config,
        task.folder,
        begun=task.begun,
        judge=(lambda distilled: judge_set(distilled, task.start, validation)) if chosen else None,
        halt=halt,
        notes=notes,
        identity=task.provenance,
        resume=task.resume,
        trackers=task.trackers,
        progress=task.progress,
    )
