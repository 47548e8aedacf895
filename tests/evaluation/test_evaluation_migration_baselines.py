"""Maps to compare a kit with: they are what their names say, and fit into the bytes of the kit."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from migration_problems import planted
from omnidistill.data.embedding_pairs import Pairs
from omnidistill.distillation.pair_learning import Frame, PairLearningSettings
from omnidistill.evaluation.migration_baselines import (
    RIDGES,
    AllPairs,
    MapProblem,
    low_rank_maps,
    oriented,
    random_pairs,
)
from omnidistill.models.storages import RowStorage

STORAGES = {"float32": RowStorage(), "4 bits": RowStorage(bits=4)}


@cache
def problem() -> MapProblem:
    old, new = (torch.from_numpy(x) for x in planted(300))
    train = Pairs(old[:240], new[:240])
    return MapProblem(
        train, Pairs(old[240:], new[240:]), Frame((train.old.mean(0), train.new.mean(0)), (False, False)), 0
    )


@cache
def fitted() -> AllPairs:
    return AllPairs(problem())


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_ridge_is_least_squares_with_the_best_ridge_on_validation(direction: str) -> None:
    maps = fitted().ridge().draws[0]
    pairs = oriented(problem().train, direction)  # type: ignore[arg-type]
    x, y = (side.double().numpy() for side in (pairs.old, pairs.new))
    a, b = x.mean(0), y.mean(0)
    penalty = fitted().ridges[direction] * ((x - a) ** 2).sum() / x.shape[1]  # type: ignore[index]
    rows = np.vstack([x - a, penalty**0.5 * np.eye(x.shape[1])])
    targets = np.vstack([y - b, np.zeros((x.shape[1], y.shape[1]))])
    expected = b + (x - a) @ np.linalg.lstsq(rows, targets, rcond=None)[0]
    np.testing.assert_allclose(maps[direction].apply(pairs.old).numpy(), expected, atol=1e-3)  # type: ignore[index]
    assert fitted().ridges[direction] in RIDGES  # type: ignore[index]


def test_one_orthogonal_map_serves_both_directions() -> None:
    maps = fitted().procrustes().draws[0]
    assert torch.equal(maps["forward"].right, maps["reverse"].right.mT)
    assert fitted().procrustes().bytes == 4 * (32 * 28 + 32 + 28)
    assert fitted().ridge().bytes == 4 * (2 * 32 * 28 + 32 + 28)


def test_random_pairs_are_real_pairs() -> None:
    candidate = random_pairs(problem(), 7)
    assert len(candidate.draws) == 3
    rows = {tuple(x) for x in problem().centred.old.tolist()}
    for maps in candidate.draws:
        left = maps["forward"].left
        assert left is not None
        assert left.shape == (7, 32)
        assert all(tuple(x) in rows for x in left.tolist())
    assert candidate.bytes == 4 * 8 * (32 + 28)


@pytest.mark.parametrize("learned", [False, True])
def test_low_rank_maps_use_the_bytes_of_the_kit(learned: bool) -> None:
    steps: list[None] = []
    learning = PairLearningSettings(2, 0.01, 60, 0.05) if learned else None
    budget, means = 3000, {"mean/old": torch.zeros(32), "mean/new": torch.zeros(28)}
    maps = list(low_rank_maps(fitted(), STORAGES, budget, means, learning, lambda: steps.append(None)))
    assert [each.name.partition(", ")[2].removeprefix("low rank, ") for each in maps] == [
        f"{name}, {ways}" for name in STORAGES for ways in ("both ways", "one way")
    ]
    assert len(steps) == (8 if learned else 0)
    for each in maps:
        assert each.bytes is not None
        assert budget - 600 < each.bytes <= budget or each.size == 28
        assert set(each.draws[0]) == ({"forward"} if "one way" in each.name else {"forward", "reverse"})
    sizes = {each.name: each.size for each in maps}
    for both, one in zip(maps[::2], maps[1::2], strict=True):
        assert sizes[both.name] < sizes[one.name] or sizes[both.name] == 28  # type: ignore[operator]


def test_learned_factors_are_never_worse_on_validation() -> None:
    learning = PairLearningSettings(20, 0.02, 100, 0.05)
    storages = {"4 bits": STORAGES["4 bits"]}
    plain, learned = (next(low_rank_maps(fitted(), storages, 1500, {}, each, int)) for each in (None, learning))
    assert problem().score(learned.draws[0]) > problem().score(plain.draws[0])


def test_a_map_that_does_not_fit_is_left_out() -> None:
    assert list(low_rank_maps(fitted(), STORAGES, 100, {}, None, int)) == []
