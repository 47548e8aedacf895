"""Rows that are chosen or computed, not learned: step size and number of steps are chosen on validation."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from omnidistill.core.settings import Count, Positive
from omnidistill.core.threads import threads_for
from omnidistill.distill import Distillation, DistilledSet
from omnidistill.evaluation.validation import choose_recipe, doubling_steps, doubt
from omnidistill.io.artifacts import write_atomic
from omnidistill.io.tracking import MetricsRecord
from omnidistill.methods.method import Method
from omnidistill.methods.task import Task


class TunedMethod(Method):
    """A method that does not learn its rows; the recipe is tuned on validation."""

    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.03, 0.1, 0.3, 1.0, 3.0)
    """Step sizes that validation chooses from."""
    max_steps: Count = 2048
    """Longest training that validation may choose; candidates double from 8."""

    def tuned(self, task: Task, candidates: Sequence[DistilledSet], started_at: float) -> Distillation:
        """Return the candidate and recipe that validate best, saved in FOLDER/distilled.

        Seconds are counted from `started_at`, a value of `time.monotonic`.
        """
        train, validation = task.development.train, task.development.validation
        task.progress.start(len(candidates), f"choose the recipe of {self.num_stored} rows")
        choices, notes = [], []
        if doubtful := doubt(validation):
            notes.append(f"{doubtful}; the recipe that it chooses may be the luckiest")
        with task.progress, threads_for(self.num_rows, train.widths, task.width):
            for line in notes:
                task.progress.advance(0, note=line)
            for candidate in candidates:
                choices.append(
                    choose_recipe(
                        candidate, task.start, validation, self.learning_rates, doubling_steps(self.max_steps)
                    )
                )
                task.progress.advance(1, validation=choices[-1].score)
        best = max(choices, key=lambda choice: choice.score)
        seconds = time.monotonic() - started_at
        provenance = replace(best.distilled.provenance, validation=best.score, notes=tuple(notes))
        result = replace(best.distilled, provenance=provenance)
        judged = sum(choice.judged for choice in choices)
        record = MetricsRecord(None, {"validation": best.score, "judged": judged, "seconds": seconds}, tuple(notes))
        write_atomic(task.folder / "metrics.jsonl", json.dumps(record.to_json()).encode() + b"\n")
        result.save(task.folder / "distilled")
        return Distillation(result, seconds)
