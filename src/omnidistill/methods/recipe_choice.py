"""The end of every method that does not learn its recipe: step size and number of steps are chosen on validation."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace

from omnidistill.config import LearnedConfig
from omnidistill.core.threads import threads_for
from omnidistill.distill import Distillation, DistilledSet
from omnidistill.evaluation.validation import choose_recipe, doubling_steps, doubt
from omnidistill.io.artifacts import write_atomic
from omnidistill.methods.task import Task


def tuned(task: Task, candidates: Sequence[DistilledSet], begun: float) -> Distillation:
    """The candidate and recipe that validate best, saved in FOLDER/distilled; seconds counted from `begun`."""
    settings, train = task.config.distill, task.development.train
    assert not isinstance(settings, LearnedConfig)
    task.progress.start(len(candidates), f"choose the recipe of {settings.size} rows")
    choices, notes = [], []
    if doubtful := doubt(task.development.validation):
        notes.append(f"{doubtful}; the recipe that it chooses may be the luckiest")
    with task.progress, threads_for(settings.num_rows, train.widths, next(iter(task.start.values())).shape[0]):
        for line in notes:
            task.progress.advance(0, note=line)
        for candidate in candidates:
            choices.append(
                choose_recipe(
                    candidate,
                    task.start,
                    task.development.validation,
                    settings.learning_rates,
                    doubling_steps(settings.max_steps),
                )
            )
            task.progress.advance(1, validation=choices[-1].score)
    best = max(choices, key=lambda choice: choice.score)
    seconds = time.monotonic() - begun
    told = {"notes": notes} if notes else {}
    provenance = {**best.distilled.provenance, "validation": best.score, **told}
    made = replace(best.distilled, provenance=provenance)
    record = {"validation": best.score, "judged": sum(choice.judged for choice in choices), "seconds": seconds, **told}
    write_atomic(task.folder / "metrics.jsonl", json.dumps(record).encode() + b"\n")
    made.save(task.folder / "distilled")
    return Distillation(made, seconds)
