"""Baseline: students trained by InfoNCE on random real rows (float32), which are resampled for every run.

The step size and the number of steps are chosen on validation. With the published protocol (`paper_protocol`), the
number of steps is fixed and only the step size is chosen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, ClassVar

import torch

from omnidistill.core.errors import NotFiniteError
from omnidistill.core.json_value import Json
from omnidistill.core.settings import Count
from omnidistill.core.streams import Streams
from omnidistill.core.threads import threads_for
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.budget import LEAST_ROWS
from omnidistill.distillation.learnable import random_rows
from omnidistill.distillation.shipped_bytes import real_rows_bytes
from omnidistill.evaluation.baselines.baseline import Baseline, Setting, baselines
from omnidistill.evaluation.paper_protocol import published_sgd, steps_per_epoch
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import doubling_steps, mean_score
from omnidistill.models.heads import shared_groups
from omnidistill.models.objectives import InfoNCE
from omnidistill.training.rollout.students import train_students


@baselines.register("random")
class RandomRows(Baseline):
    """Heads trained on random real rows by InfoNCE."""

    sized: ClassVar[bool] = True

    batch_size: Count = 128
    """Number of rows per training step; all rows if there are fewer."""
    max_steps: Count = 2048
    """Largest candidate for the number of training steps. The candidates are 8, 16, 32, ...; the best on validation is
    used."""

    def applies(self, setting: Setting) -> bool:
        """Return whether the baseline may store at least 2 rows, the minimum for a contrastive loss."""
        assert setting.allowance is not None
        return setting.allowance.rows >= LEAST_ROWS

    def fit(self, setting: Setting) -> TrainedHeads:
        """Train heads on random real rows. Every run uses its own random sample of rows.

        The step size and the number of steps are the same in all runs. They are chosen on validation with two further
        samples, which no run uses.
        """
        assert setting.allowance is not None
        started_at, streams, evaluate = time.monotonic(), Streams(setting.seed), setting.evaluate
        train_rows, start, size = setting.data.train, setting.start, setting.allowance.rows
        steps, objective = doubling_steps(self.max_steps), InfoNCE(tau=evaluate.tau)
        batch_size, optimiser = min(self.batch_size, size), published_sgd(evaluate, size)
        if evaluate.protocol == "paper":
            batch_size = min(evaluate.batch_size, size)
            steps = [steps_per_epoch(evaluate, size) * evaluate.max_epochs]

        def train(rows: FeatureSet, rate: float, checkpoints: Sequence[int], stream: str) -> Iterator[Any]:
            return train_students(
                objective,
                start,
                rows.features,
                lambda batches: shared_groups(rows.group_codes[batches]),
                torch.full((len(start),), rate, device="cpu"),
                batch_size=batch_size,
                checkpoints=checkpoints,
                generators=[streams[stream]],
                **optimiser,
            )

        with threads_for(size, train_rows.widths, next(iter(start.values())).shape[0]):
            best, num_evaluated = (-1.0, evaluate.learning_rates[0], steps[0]), 0
            tuning = [random_rows(train_rows, size, streams[f"random/tune/{draw}"]) for draw in range(2)]
            for rate in evaluate.learning_rates:
                curves = [
                    _curve(train(rows, rate, steps, f"random/tune/batches/{draw}"), len(steps), setting.data.validation)
                    for draw, rows in enumerate(tuning)
                ]
                num_evaluated += sum(score >= 0 for score in curves[0])
                for num_steps, *scores in zip(steps, *curves, strict=True):
                    best = max(best, (sum(scores) / len(scores), rate, num_steps), key=lambda choice: choice[0])
            _, rate, num_steps = best
            runs = []
            for run in range(evaluate.num_seeds):
                rows = random_rows(train_rows, size, streams[f"random/{run}"])
                runs.append(next(train(rows, rate, [num_steps], f"random/batches/{run}"))[1])
        heads = {name: torch.cat([run[name] for run in runs]) for name in start}
        num_bytes = real_rows_bytes(size, train_rows.widths, train_rows.preprocessing)
        settings: dict[str, Json] = {"step_size": rate, "num_steps": num_steps}
        settings |= {"protocol": "paper"} if optimiser else {}
        label, seconds = f"random, {size} rows", time.monotonic() - started_at
        return TrainedHeads(label, (heads,), num_bytes, seconds, settings, num_evaluated)


def _curve(students: Iterator[Any], length: int, validation: FeatureSet) -> list[float]:
    """Return the validation score at every checkpoint; -1 at checkpoints after training has diverged."""
    scores: list[float] = []
    with suppress(NotFiniteError):
        scores += (mean_score(heads, validation) for _, heads in students)
    return scores + [-1.0] * (length - len(scores))
