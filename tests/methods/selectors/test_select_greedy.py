"""Herding, k-center, facility location and CRAIG against plain greedy loops in float64."""

from __future__ import annotations

import pytest
import torch
from select_problems import (
    allowed_rows,
    choose,
    random_problem,
    reference_embeddings,
    reference_kernel,
    reference_row_gradients,
)
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.methods.selectors.cover import greedy_cover
from omnidistill.methods.selectors.craig import gradient_products
from omnidistill.methods.selectors.softmax_errors import row_deltas
from omnidistill.models.heads import Heads

PROBLEMS = pytest.mark.parametrize(
    ("num_modalities", "rows_per_group", "size"), [(2, 1, 6), (3, 1, 9), (3, 3, 10), (4, 2, 16), (2, 4, 24)]
)


def _points(train: FeatureSet, heads: Heads) -> Tensor:
    z = reference_embeddings(train, heads)
    return torch.cat(z, dim=1) / len(z) ** 0.5


@PROBLEMS
def test_herding_is_the_greedy_minimiser_of_the_distance_to_the_mean(num_modalities, rows_per_group, size):
    train, heads = random_problem(num_modalities, 24, seed=1, rows_per_group=rows_per_group)
    points = _points(train, heads)
    chosen: list[int] = []
    for t in range(size):
        target = (t + 1) * points.mean(0) - sum((points[j] for j in chosen), torch.zeros(points.shape[1]))
        chosen.append(min(allowed_rows(train.groups, chosen), key=lambda i: float((target - points[i]).norm())))
    assert choose("herding", train, heads, size) == chosen


@PROBLEMS
def test_k_center_takes_the_farthest_row_each_time(num_modalities, rows_per_group, size):
    train, heads = random_problem(num_modalities, 24, seed=2, rows_per_group=rows_per_group)
    points = _points(train, heads)
    chosen = [min(range(24), key=lambda i: float((points[i] - points.mean(0)).norm()))]
    while len(chosen) < size:
        chosen.append(
            max(
                allowed_rows(train.groups, chosen),
                key=lambda i: min(float((points[i] - points[j]).norm()) for j in chosen),
            )
        )
    assert choose("k-center", train, heads, size) == chosen


def test_the_radius_of_k_center_is_at_most_twice_the_best():
    train, heads = random_problem(3, 12, seed=3)
    points = _points(train, heads)
    distances = torch.cdist(points, points)
    subsets = torch.combinations(torch.arange(12), 3)
    best = min(float(distances[:, subset].amin(1).max()) for subset in subsets)
    found = float(distances[:, choose("k-center", train, heads, 3)].amin(1).max())
    assert found <= 2 * best + 1e-9


def _greedy_cover(similarity: Tensor, floor: float, groups: tuple[str, ...], size: int) -> list[int]:
    """Evaluates the coverage itself for every candidate; of equal ones the most similar to all rows is taken."""
    chosen: list[int] = []
    for _ in range(size):
        allowed = allowed_rows(groups, chosen)
        coverage = {i: float((similarity[:, [*chosen, i]].amax(1) - floor).sum()) for i in allowed}
        equal = [i for i in allowed if coverage[i] >= max(coverage.values()) + 1e-6 * floor]
        chosen.append(max(equal, key=lambda i: float(similarity[i].sum())))
    return chosen


@PROBLEMS
def test_facility_location_takes_the_largest_gain_of_coverage(num_modalities, rows_per_group, size):
    train, heads = random_problem(num_modalities, 24, seed=4, rows_per_group=rows_per_group)
    expected = _greedy_cover(reference_kernel(train, heads), -1.0, train.groups, size)
    assert choose("facility-location", train, heads, size) == expected


def test_facility_location_reaches_its_guarantee():
    train, heads = random_problem(3, 12, seed=5)
    coverage = reference_kernel(train, heads) + 1
    subsets = torch.combinations(torch.arange(12), 3)
    best = max(float(coverage[:, subset].amax(1).sum()) for subset in subsets)
    found = float(coverage[:, choose("facility-location", train, heads, 3)].amax(1).sum())
    assert (1 - 1 / torch.e) * best <= found <= best + 1e-9


@pytest.mark.parametrize("num_modalities", [2, 3, 4])
@pytest.mark.parametrize("rows_per_group", [1, 3])
def test_products_of_row_gradients_are_those_of_the_explicit_gradients(num_modalities, rows_per_group, chunk_bytes):
    train, heads = random_problem(num_modalities, 12, seed=6, rows_per_group=rows_per_group)
    explicit = reference_row_gradients(train, heads)
    expected = explicit @ explicit.T
    with chunk_bytes(1000):
        deltas = row_deltas(train, heads)
    found = gradient_products(train, deltas, torch.tensor([0, 5, 11]))
    assert torch.allclose(found.double(), expected[[0, 5, 11]], rtol=1e-4, atol=1e-6 * float(expected.abs().max()))


@PROBLEMS
def test_craig_is_facility_location_on_distances_of_explicit_gradients(num_modalities, rows_per_group, size):
    train, heads = random_problem(num_modalities, 24, seed=7, rows_per_group=rows_per_group)
    explicit = reference_row_gradients(train, heads)
    distances = torch.cdist(explicit, explicit)
    expected = _greedy_cover(-distances, -2 * float(explicit.norm(dim=1).max()), train.groups, size)
    assert choose("craig", train, heads, size) == expected


@pytest.mark.parametrize("num_bytes", [1, 5000, 2**29])
def test_lazy_evaluation_chooses_what_evaluating_everything_does(num_bytes, chunk_bytes):
    generator = torch.Generator().manual_seed(0)
    for trial in range(20):
        points = torch.rand(70, 3, generator=generator)
        similarity = points @ points.T
        codes = torch.arange(70) // (1 + trial % 4)
        expected = _greedy_cover(similarity.double(), -0.1, tuple(map(str, codes.tolist())), 30)
        with chunk_bytes(num_bytes):
            found = greedy_cover(lambda rows, table=similarity: table[rows], -0.1, codes, 30).tolist()
        assert found == expected


def test_lazy_evaluation_looks_at_few_rows_again(chunk_bytes):
    points = torch.nn.functional.normalize(torch.randn(1500, 8, generator=torch.Generator().manual_seed(0)))
    evaluated = 0

    def similarity_of(rows: Tensor) -> Tensor:
        nonlocal evaluated
        evaluated += len(rows)
        return points[rows] @ points.T

    with chunk_bytes(2**20):
        greedy_cover(similarity_of, -1.0, torch.arange(1500), 50)
    assert evaluated < 50 * 1500 / 4
