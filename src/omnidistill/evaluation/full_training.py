"""Choice of the step size and number of epochs for training on all rows, by validation score.

Experts and the baselines that train on all rows are tuned in this way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import NotFiniteError
from omnidistill.data.featureset import Development, FeatureSet
from omnidistill.evaluation.paper_protocol import PublishedSgd
from omnidistill.evaluation.validation import run_of, validation_score
from omnidistill.models.heads import Heads
from omnidistill.models.objectives import Objective
from omnidistill.training.experts.epochs import StackedHeads, stack_runs, train_epochs

PATIENCE_EPOCHS = 6
"""Epochs without improvement after which a training ends."""


@dataclass(frozen=True)
class Training:
    """The step size and number of epochs with the best validation score.

    Attributes:
        learning_rate: step size.
        num_epochs: number of epochs.
        score: validation score, in [0, 1].
        num_evaluated: number of epochs, over all runs, that were evaluated on validation.
    """

    learning_rate: float
    num_epochs: int
    score: float
    num_evaluated: int


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
    bias: Mapping[str, Float[Tensor, " _"]] | None = None,
    report: Callable[..., object] = lambda n, **fields: None,
    last_epoch: bool = False,
    **optimiser: Unpack[PublishedSgd],
) -> Training:
    """Train one run per step size; return the step size and number of epochs with the best validation score.

    A run ends when its score has not improved for six epochs, or when it diverges. With `last_epoch`, every run has
    `max_epochs` epochs, and only the heads after the last epoch are scored.

    Args:
        objective: the loss to minimise.
        start: initial heads, {modality: d x p_m}.
        data: training and validation rows.
        learning_rates: candidate step sizes.
        batch_size: rows per step.
        max_epochs: largest number of epochs.
        seed: seed for the mini-batches.
        purpose: name of the random stream for the mini-batches.
        bias: {modality: d}, added to the outputs and not trained; None means zero.
        report: `Progress.advance` or a function with the same arguments; called after every epoch and when a run ends.
        last_epoch: whether to train every run for `max_epochs` epochs instead of choosing the number of epochs.
        optimiser: momentum, weight decay and decay of the step size, see `train_epochs`.
    """
    best, num_evaluated = Training(learning_rates[0], max_epochs if last_epoch else 1, -1.0, 0), 0
    for rate in learning_rates:
        heads = stack_runs(start, 1)
        epochs = train_epochs(
            objective,
            heads,
            data.train,
            torch.tensor([rate], device="cpu"),
            batch_size=batch_size,
            num_epochs=max_epochs,
            seed=seed,
            purpose=purpose,
            bias=bias,
            **optimiser,
        )
        scored = _score_at_last_epoch if last_epoch else best_epoch
        score, epoch, count = scored(epochs, partial(_reported_score, heads, data.validation, bias, report))
        num_evaluated += count
        report(1, validation=score, learning_rate=rate, epochs=epoch)
        best = max(best, Training(rate, epoch, score, 0), key=lambda training: training.score)
    return Training(best.learning_rate, best.num_epochs, best.score, num_evaluated)


def _reported_score(
    heads: StackedHeads,
    validation: FeatureSet,
    bias: Mapping[str, Tensor] | None,
    report: Callable[..., object],
) -> float:
    score = validation_score(run_of(heads, 0), validation, bias)
    report(0, validation=score)
    return score


def _score_at_last_epoch(epochs: Iterable[int], score: Callable[[], float]) -> tuple[float, int, int]:
    """Return the final score (-1 if training diverges), the last epoch, and the number of scored epochs."""
    last = 0
    try:
        for epoch in epochs:
            last = epoch
        return score(), last, 1
    except NotFiniteError:
        return -1.0, max(last, 1), 0


def best_epoch(epochs: Iterable[int], score: Callable[[], float]) -> tuple[float, int, int]:
    """Return the best validation score, the epoch at which it was reached, and the number of evaluated epochs.

    Stops when the score has not improved for six epochs, or when training diverges.

    Args:
        epochs: iterator that trains for one epoch at a time and yields the number of epochs so far.
        score: function that returns the validation score of the current heads.
    """
    best, best_at, num_evaluated = -1.0, 1, 0
    try:
        for epoch in epochs:
            current, num_evaluated = score(), num_evaluated + 1
            if current > best:
                best, best_at = current, epoch
            elif epoch - best_at >= PATIENCE_EPOCHS:
                break
    except NotFiniteError:
        pass
    return best, best_at, num_evaluated
