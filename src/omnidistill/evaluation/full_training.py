"""Training on all rows, as well as it gets: step size and number of epochs by what validates best.

The reference that sets are measured by, and the experts that they are made from, are chosen in this one way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from omnidistill.core.errors import NotFiniteError
from omnidistill.data.featureset import Development
from omnidistill.evaluation.validation import run_of, validation_score
from omnidistill.models.heads import Heads
from omnidistill.models.objectives import Objective
from omnidistill.training.experts.epochs import stack_runs, train_epochs

_PATIENCE_EPOCHS = 6


@dataclass(frozen=True)
class Training:
    """What was chosen, its validation score in [0, 1], and how many epochs of all runs were judged."""

    learning_rate: float
    num_epochs: int
    score: float
    judged: int


def choose_training(
    objective: Objective,
    start: Heads,
    data: Development,
    learning_rates: Sequence[float],
    *,
    batch_size: int,
    max_epochs: int,
    seed: int,
    purpose: str,
    told: Callable[[float], object] = lambda score: None,
) -> Training:
    """One run from the start at every step size; the epoch that validates best, the first of equals.

    A run ends when its score has not risen for some epochs, or when it diverges. told: is given the best score of
    every run when it has ended.
    """
    best, judged = Training(learning_rates[0], 1, -1.0, 0), 0
    for rate in learning_rates:
        heads = stack_runs(start, 1)
        epochs = train_epochs(
            objective,
            heads,
            data.train,
            torch.tensor([rate]),
            batch_size=batch_size,
            num_epochs=max_epochs,
            seed=seed,
            purpose=purpose,
        )
        score, epoch, count = best_epoch(
            epochs,
            lambda heads=heads: validation_score(run_of(heads, 0), data.validation),  # type: ignore[misc]
        )
        judged += count
        told(score)
        best = max(best, Training(rate, epoch, score, 0), key=lambda training: training.score)
    return Training(best.learning_rate, best.num_epochs, best.score, judged)


def best_epoch(epochs: Iterable[int], score: Callable[[], float]) -> tuple[float, int, int]:
    """Best score, its epoch, and how many were judged; stops when it has not risen for some epochs or training
    diverged.
    """
    best, best_at, judged = -1.0, 1, 0
    try:
        for epoch in epochs:
            current, judged = score(), judged + 1
            if current > best:
                best, best_at = current, epoch
            elif epoch - best_at >= _PATIENCE_EPOCHS:
                break
    except NotFiniteError:
        pass
    return best, best_at, judged
