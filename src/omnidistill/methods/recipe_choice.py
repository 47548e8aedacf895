"""Base class of methods that select or compute rows instead of learning them.

The base class chooses the recipe for training on these rows: the step size and the number of steps that have the best
validation score.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from omnidistill.core.settings import Count, Positive
from omnidistill.core.threads import threads_for
from omnidistill.distillation import Distillation, DistilledSet
from omnidistill.evaluation.validation import choose_recipe, doubling_steps, doubt
from omnidistill.io.tracking import MetricsRecord
from omnidistill.methods.method import Method
from omnidistill.methods.task import Task


class TunedMethod(Method):
    """Base class of methods that do not learn rows. It chooses step size and number of steps by validation score."""

    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.03, 0.1, 0.3, 1.0, 3.0)
    """Candidate step sizes for training on the set; chosen on validation."""
    max_steps: Count = 2048
    """Largest candidate for the number of training steps on the set. The candidates are 8, 16, 32, ...; the best on
    validation is used."""

    def tuned(self, task: Task, candidates: Sequence[DistilledSet], started_at: float) -> Distillation:
        """Return the candidate set with the best validation score, with its best step size and number of steps.

        Args:
            task: the data, initial heads and other inputs of the method.
            candidates: sets to choose from.
            started_at: value of `time.monotonic()` when the method started; used for the reported duration.
        """
        train, validation = task.development.train, task.development.validation
        task.progress.start(len(candidates), f"choose the recipe for {self.num_stored} rows")
        choices, notes = [], []
        if doubtful := doubt(validation):
            notes.append(f"{doubtful}; the recipe with the best score may just be the luckiest")
        with task.progress, threads_for(self.num_rows, train.widths, task.width):
            for line in notes:
                task.progress.note(line)
            for candidate in candidates:
                choices.append(
                    choose_recipe(
                        candidate,
                        task.start,
                        validation,
                        self.learning_rates,
                        doubling_steps(self.max_steps),
                        report=task.progress.advance,
                    )
                )
                task.progress.advance(1, validation=choices[-1].score)
        best = max(choices, key=lambda choice: choice.score)
        seconds = time.monotonic() - started_at
        provenance = replace(best.distilled.provenance, validation=best.score, notes=tuple(notes))
        result = replace(best.distilled, provenance=provenance)
        num_evaluated = sum(choice.num_evaluated for choice in choices)
        values = {"validation": best.score, "judged": num_evaluated, "seconds": seconds}
        record = MetricsRecord(None, values, tuple(notes))
        return Distillation(result, seconds, (record,))
