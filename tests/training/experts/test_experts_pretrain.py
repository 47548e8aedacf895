"""Initial heads if the user gives none: random, or pre-trained on the `heads` split and chosen on validation."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import Development
from omnidistill.evaluation.validation import validation_score
from omnidistill.models.heads import Heads
from omnidistill.models.objectives import InfoNCE
from omnidistill.training.experts import HeadsConfig, pretrain_heads, stack_runs, train_epochs
from small_runs import features, widths

CONFIG = HeadsConfig(width=8, num_epochs=5, batch_size=16, learning_rate=0.5)


def development() -> Development:
    return features().development()


def equal(one: Heads, other: Heads) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def trajectory(seed: int = 0) -> list[Heads]:
    """The heads before, and after each epoch, as the scorer receives them."""
    shown: list[Heads] = []

    def scorer(heads: Heads) -> float:
        shown.append({name: matrix.clone() for name, matrix in heads.items()})
        return 0.0

    pretrain_heads(development(), CONFIG, scorer, seed=seed)
    return shown


def test_the_scorer_sees_the_start_and_every_epoch() -> None:
    shown = trajectory()
    assert len(shown) == 6
    heads = stack_runs(shown[0], 1)
    data = development()
    assert data.heads is not None
    epochs = train_epochs(
        InfoNCE(tau=CONFIG.tau),
        heads,
        data.heads,
        torch.tensor([0.5]),
        batch_size=16,
        num_epochs=5,
        seed=0,
        purpose="heads",
    )
    for epoch in epochs:
        assert equal(shown[epoch], {name: matrix[0] for name, matrix in heads.items()})
    assert all(not torch.equal(before["b"], after["b"]) for before, after in itertools.pairwise(shown))


def test_the_best_on_validation_is_kept_as_it_was_then() -> None:
    """The heads of the best epoch are returned with the values they had; of equal epochs, those of the first."""
    shown = trajectory()
    for best in range(6):
        scores = iter(1.0 if epoch >= best else 0.0 for epoch in range(6))
        heads, epoch = pretrain_heads(development(), CONFIG, lambda _, scores=scores: next(scores), seed=0)  # type: ignore[misc]
        assert epoch == best
        assert equal(heads, shown[best])


def test_without_a_heads_split_the_heads_are_random() -> None:
    data = development()
    without = Development(None, data.train, data.validation)
    heads, epoch = pretrain_heads(without, CONFIG, lambda heads: 1 / 0, seed=0)
    assert epoch == 0
    assert equal(heads, trajectory()[0])
    assert not equal(heads, pretrain_heads(without, CONFIG, lambda heads: 0.0, seed=1)[0])
    assert {name: tuple(matrix.shape) for name, matrix in heads.items()} == {
        name: (8, width) for name, width in widths(3).items()
    }
    wide, _ = pretrain_heads(without, HeadsConfig(width=4000), lambda heads: 0.0, seed=0)
    for name, matrix in wide.items():
        assert abs(float(matrix.std()) * math.sqrt(widths(3)[name]) - 1) < 0.02


def test_training_raises_the_validation_score_on_planted_data() -> None:
    data = development()
    scores: list[float] = []

    def scorer(heads: Heads) -> float:
        scores.append(validation_score(heads, data.validation))
        return scores[-1]

    heads, epoch = pretrain_heads(data, HeadsConfig(width=8, num_epochs=20, batch_size=24), scorer, seed=0)
    assert epoch > 0
    assert max(scores) > scores[0] + 0.1
    assert validation_score(heads, data.validation) == max(scores)


def test_a_step_size_that_is_too_large_is_named() -> None:
    """InfoNCE does not depend on the length of the outputs, so that heads that diverge remain finite."""
    with pytest.raises(InputError, match=r"^heads\.learning_rate = 1e\+06: the initial heads diverged"):
        pretrain_heads(development(), CONFIG.evolve(learning_rate=1e6), lambda _: 0.0, seed=0)
