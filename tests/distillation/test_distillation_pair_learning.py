"""The loss of maps against loops in numpy float64, its gradient against finite differences, and that it is learned."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from omnidistill.data.embedding_pairs import Pairs
from omnidistill.distillation.pair_learning import (
    FactoredMaps,
    Frame,
    LearnableMaps,
    PairLearning,
    PairLearningSettings,
    PairRows,
    pair_loss,
)
from omnidistill.models.storages import RowStorage

Array = NDArray[np.float64]
TAU = 0.3


def pairs(n: int = 12, dtype: torch.dtype = torch.float64) -> Pairs:
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(n, 3, generator=draw, dtype=torch.float64)
    old, new = (torch.tanh(z @ torch.randn(3, p, generator=draw, dtype=torch.float64)) + 0.5 for p in (6, 5))
    return Pairs(old.to(dtype), new.to(dtype))


def frame(data: Pairs) -> Frame:
    return Frame((data.old.mean(0), data.new.mean(0)), (False, True))


def rows(data: Pairs) -> PairRows:
    centred = data.centred(*frame(data).means)
    return PairRows.start({"old": centred.old[:4], "new": centred.new[:4]}, 0.2, RowStorage(), frame(data))


def factors(data: Pairs) -> FactoredMaps:
    draw = torch.Generator().manual_seed(1)
    left, right = (torch.randn(2, p, generator=draw, dtype=torch.float64).to(data.old) for p in (6, 5))
    return FactoredMaps.start({"forward": (left, right), "reverse": (right, left)}, RowStorage(), frame(data))


def unit(x: Array) -> Array:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def loss_by_loops(mapped: Array, target: Array) -> float:
    vectors, n = np.vstack([unit(mapped), unit(target)]), len(mapped)
    total = 0.0
    for i in range(2 * n):
        others = [math.exp(vectors[i] @ vectors[j] / TAU) for j in range(2 * n) if j != i]
        total -= math.log(math.exp(vectors[i] @ vectors[(i + n) % (2 * n)] / TAU) / sum(others))
    return total / (2 * n)


def test_the_loss_is_that_of_the_equation() -> None:
    data = pairs()
    first = rows(data)
    means = [x.numpy() for x in first.frame.means]
    old, new = (first.latent[name].numpy() for name in ("old", "new"))
    x, y = data.old.numpy(), data.new.numpy()
    expected = 0.0
    for source, target, r, q, a, b in ((x, y, old, new, *means), (y, x, new, old, *means[::-1])):
        kernel = r @ r.T
        matrix = r.T @ np.linalg.solve(kernel + 0.2 * np.diag(kernel).mean() * np.eye(4), q)
        expected += loss_by_loops(b + (source - a) @ matrix, target)
    assert float(pair_loss(first.maps(), data, TAU)) == pytest.approx(expected, rel=1e-6)  # the ridge is float32


@pytest.mark.parametrize("make", [rows, factors])
def test_the_gradient_is_that_of_finite_differences(make: type[LearnableMaps]) -> None:
    data = pairs()
    first = make(data)
    for name, x in first.latent.items():
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(pair_loss(first.maps(), data, TAU), x)
        direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        values = []
        for step in (1e-5, -1e-5):
            x.data += step * direction
            values.append(float(pair_loss(first.maps(), data, TAU).detach()))
            x.data -= step * direction
        assert float((gradient * direction).sum()) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5), name


@pytest.mark.parametrize("make", [rows, factors])
def test_learning_lowers_the_loss_and_leaves_the_start_unchanged(make: type[LearnableMaps]) -> None:
    data = pairs(40, torch.float32)
    first = make(data)
    before = {name: x.clone() for name, x in first.latent.items()}
    settings = PairLearningSettings(30, 0.02, 30, TAU)
    learning, again = (PairLearning(first, data, settings, 0) for _ in range(2))
    losses = [learning.step() for _ in range(30)]
    assert losses == [again.step() for _ in range(30)]
    start = float(pair_loss(first.maps(), data, TAU))
    assert float(pair_loss(learning.learned.detached().maps(), data, TAU)) < start - 0.02
    assert all(torch.equal(x, first.latent[name]) for name, x in before.items())
    assert not any(x.requires_grad for x in first.latent.values())


def test_ridges_are_learned_but_never_too_small() -> None:
    data = pairs(40, torch.float32)
    learning = PairLearning(rows(data), data, PairLearningSettings(3, 0.02, 30, TAU), 0)
    learning.step()
    assert not bool((learning.learned.ridges == 0.2).any())
    assert rows(data).with_ridge(1e-9).ridges.tolist() == pytest.approx([1e-4, 1e-4])
