"""Recall of the same item against sorting in numpy, with ties, and the three tasks of a migration."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from omnidistill.data.embedding_pairs import Pairs
from omnidistill.evaluation.migration_scores import mapped_half, mean_recall, recall_of_items, recalls_of
from omnidistill.models.affine_map import AffineMap


def drawn(n: int, p: int, seed: int) -> torch.Tensor:
    return torch.randn(n, p, generator=torch.Generator().manual_seed(seed))


def recall_by_sorting(queries: np.ndarray, gallery: np.ndarray, k: int) -> float:
    q, g = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, gallery))
    order = np.argsort(-(q @ g.T), axis=1)
    return float(np.mean([i in order[i, :k] for i in range(len(q))]))


def test_recall_is_that_of_sorting() -> None:
    queries, gallery = drawn(1500, 4, 0), drawn(1500, 4, 1)
    queries = queries + 2 * gallery
    for k, value in recall_of_items(queries, gallery).items():
        assert value == pytest.approx(
            recall_by_sorting(queries.double().numpy(), gallery.double().numpy(), k), abs=1e-3
        )
        assert 0.01 < value < 1


def test_tied_items_are_in_random_order() -> None:
    gallery = torch.ones(20, 3)
    assert recall_of_items(drawn(20, 3, 0), gallery) == pytest.approx({1: 0.05, 5: 0.25, 10: 0.5})


def test_the_tasks_search_what_they_say() -> None:
    pairs = Pairs(drawn(30, 5, 0), drawn(30, 4, 1))
    mapping = AffineMap(torch.zeros(5), None, drawn(5, 4, 2), torch.ones(4))
    recalls = recalls_of(mapping, pairs, seed=3)
    mapped, target = mapping.apply(pairs.old), pairs.new
    assert recalls["queries"] == recall_of_items(mapped, target)
    assert recalls["gallery"] == recall_of_items(target, mapped)
    half = mapped_half(30, 3)
    assert int(half.sum()) == 15
    queries, gallery = mapped.clone(), target.clone()
    queries[half], gallery[half] = target[half], mapped[half]
    assert recalls["mixed"] == recall_of_items(queries, gallery)
    assert mean_recall(recalls) == pytest.approx(np.mean([v for task in recalls.values() for v in task.values()]))


def test_an_exact_map_finds_everything() -> None:
    old = drawn(30, 4, 0)
    matrix = drawn(4, 6, 1)
    mapping = AffineMap(torch.zeros(4), None, matrix, torch.zeros(6))
    assert mean_recall(recalls_of(mapping, Pairs(old, old @ matrix))) == pytest.approx(1.0, abs=0.01)
