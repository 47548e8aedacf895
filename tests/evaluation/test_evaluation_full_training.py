"""Training on all rows: the step size and epoch that validate best, and early stopping."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from omnidistill.core.errors import NotFiniteError
from omnidistill.evaluation import full_training as training
from omnidistill.evaluation.full_training import best_epoch, choose_training
from omnidistill.evaluation.validation import run_of, validation_score
from omnidistill.models.objectives import InfoNCE
from omnidistill.training.experts.epochs import stack_runs, train_epochs
from small_runs import features, small_heads

RATES = (0.05, 0.5, 2.0)


def test_what_validates_best_of_all_rates_and_epochs() -> None:
    """All rates and epochs are tried again in the test."""
    data, start = features().development(), small_heads(features())
    scores = {}
    for rate in RATES:
        heads = stack_runs(start, 1)
        for epoch in train_epochs(
            InfoNCE(), heads, data.train, torch.tensor([rate]), batch_size=24, num_epochs=4, seed=3, purpose="choose"
        ):
            scores[rate, epoch] = validation_score(run_of(heads, 0), data.validation)
    reported: list[tuple[int, float]] = []

    def report(n: int, validation: float, **fields: object) -> None:
        reported.append((n, validation))

    chosen = choose_training(
        InfoNCE(), start, data, RATES, batch_size=24, max_epochs=4, seed=3, purpose="choose", report=report
    )
    assert [score for n, score in reported if n] == [
        max(scores[rate, epoch] for epoch in range(1, 5)) for rate in RATES
    ]
    assert [score for n, score in reported if not n] == [scores[rate, epoch] for rate in RATES for epoch in range(1, 5)]
    assert scores[chosen.learning_rate, chosen.num_epochs] == chosen.score == max(scores.values())
    assert chosen.num_evaluated == len(scores)


def test_where_all_rates_diverge_the_first_is_named() -> None:
    chosen = choose_training(
        InfoNCE(),
        small_heads(features()),
        features().development(),
        (float("inf"),),
        batch_size=24,
        max_epochs=4,
        seed=0,
        purpose="choose",
    )
    assert (chosen.learning_rate, chosen.num_epochs, chosen.num_evaluated) == (float("inf"), 1, 0)
    assert chosen.score == pytest.approx(-1)


def test_patience_ends_a_training_that_no_longer_rises() -> None:
    scores = iter([0.1, 0.3, 0.2, 0.3, *[0.25] * 20])
    seen = []

    def score() -> float:
        seen.append(next(scores))
        return seen[-1]

    assert best_epoch(iter(range(1, 25)), score) == (0.3, 2, 8)
    assert len(seen) == 2 + training.PATIENCE_EPOCHS


def test_a_training_that_diverges_keeps_its_best_epoch() -> None:
    def epochs() -> Iterator[int]:
        yield from (1, 2, 3)
        raise NotFiniteError("heads became NaN")

    scores = iter([0.2, 0.4, 0.3])
    assert best_epoch(epochs(), lambda: next(scores)) == (0.4, 2, 3)

    def at_once() -> Iterator[int]:
        raise NotFiniteError("heads became NaN")
        yield 1

    assert best_epoch(at_once(), lambda: 1.0) == (-1.0, 1, 0)
