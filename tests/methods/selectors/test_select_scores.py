"""Agreement, EL2N, GraNd and forgetting against loops and autograd."""

from __future__ import annotations

from itertools import combinations, pairwise, permutations

import pytest
import torch
from select_problems import (
    allowed_rows,
    choose,
    feature_set,
    random_problem,
    reference_el2n,
    reference_embeddings,
    reference_row_gradients,
    trajectory_from,
)
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.methods.selectors.agreement import agreement_scores
from omnidistill.methods.selectors.aligned_k_medoids import AlignedKMedoids
from omnidistill.methods.selectors.el2n import el2n_scores
from omnidistill.methods.selectors.forgetting import forgetting_counts
from omnidistill.methods.selectors.grand import grand_scores
from omnidistill.models.heads import Heads

CASES = pytest.mark.parametrize(("num_modalities", "rows_per_group"), [(2, 1), (2, 3), (3, 1), (3, 2), (4, 3)])


def _top(scores: Tensor, groups: tuple[str, ...], size: int) -> list[int]:
    chosen: list[int] = []
    for _ in range(size):
        chosen.append(max(allowed_rows(groups, chosen), key=lambda i: float(scores[i])))
    return chosen


def _agreement(train: FeatureSet, heads: Heads) -> Tensor:
    z = reference_embeddings(train, heads)
    pairs = list(combinations(range(len(z)), 2))
    return sum(((z[m] * z[k]).sum(1) for m, k in pairs), torch.zeros(())) / len(pairs)


@CASES
def test_agreement_is_the_mean_cosine_of_the_pairs(num_modalities, rows_per_group):
    train, heads = random_problem(num_modalities, 20, seed=1, rows_per_group=rows_per_group)
    expected = _agreement(train, heads)
    assert torch.allclose(agreement_scores(train, heads).double(), expected, atol=1e-6)
    found = choose("agreement", train, heads, 9)
    assert found == _top(expected, train.groups, 9)


def test_aligned_leaves_out_the_lowest_fifth_and_maps_rows_back():
    train, heads = random_problem(3, 20, seed=2)
    order = _agreement(train, heads).argsort(descending=True).tolist()
    kept = sorted(order[:16])
    expected = [kept[row] for row in choose("k-medoids", train.select(kept), heads, 7)]
    assert choose("aligned-k-medoids", train, heads, 7) == expected
    assert choose("k-medoids", train, heads, 7) != expected
    assert not set(order[16:]) & set(choose("aligned-k-medoids", train, heads, 16))


def test_the_dropped_share_is_a_setting_that_leaves_as_many_rows_as_requested():
    train, heads = random_problem(2, 10, seed=3)
    ranking = _agreement(train, heads).argsort(descending=True).tolist()
    for dropped, size, remaining in ((0.5, 8, 8), (0.5, 5, 5), (0.3, 7, 7)):
        found = AlignedKMedoids(dropped=dropped).rows(train, heads, size, torch.Generator())
        assert sorted(found.tolist()) == sorted(ranking[:remaining])


@CASES
def test_el2n_is_the_norm_of_the_gradients_of_the_logits(num_modalities, rows_per_group, chunk_bytes):
    train, heads = random_problem(num_modalities, 12, seed=4, rows_per_group=rows_per_group)
    expected = reference_el2n(train, heads)
    with chunk_bytes(1200):
        assert torch.allclose(el2n_scores(train, heads).double(), expected, rtol=1e-4)
    assert choose("el2n", train, heads, 5) == _top(expected, train.groups, 5)


@CASES
def test_grand_is_the_norm_of_the_gradient_of_heads_of_the_rows_own(num_modalities, rows_per_group, chunk_bytes):
    train, heads = random_problem(num_modalities, 12, seed=5, rows_per_group=rows_per_group)
    expected = reference_row_gradients(train, heads).norm(dim=1)
    with chunk_bytes(1200):
        assert torch.allclose(grand_scores(train, heads).double(), expected, rtol=1e-4)
    assert choose("grand", train, heads, 5) == _top(expected, train.groups, 5)


@pytest.mark.parametrize("name", ["el2n", "grand"])
def test_early_scores_are_taken_after_the_first_epoch(name):
    train, heads = random_problem(3, 30, seed=6)
    trajectory = trajectory_from(heads, 4, seed=6)
    found = choose(name, train, heads, 8, None, trajectory)
    assert found == choose(name, train, trajectory[1], 8)
    assert found != choose(name, train, heads, 8)


def _right(train: FeatureSet, heads: Heads) -> list[bool]:
    z, n = reference_embeddings(train, heads), len(train)
    directions = list(permutations(range(len(z)), 2))
    right = []
    for i in range(n):
        hits = 0
        for m, k in directions:
            first = max(range(n), key=lambda j: float(z[m][i] @ z[k][j]))
            hits += train.groups[first] == train.groups[i]
        right.append(hits > len(directions) / 2)
    return right


@CASES
@pytest.mark.parametrize("num_bytes", [1000, 2**20])
def test_forgetting_counts_changes_from_right_to_wrong(num_modalities, rows_per_group, num_bytes, chunk_bytes):
    train, heads = random_problem(num_modalities, 15, seed=7, rows_per_group=rows_per_group)
    trajectory = trajectory_from(heads, 8, seed=7)
    history = [_right(train, snapshot) for snapshot in trajectory]
    expected = [sum(a[i] and not b[i] for a, b in pairwise(history)) for i in range(len(train))]
    with chunk_bytes(num_bytes):
        assert forgetting_counts(train, trajectory).tolist() == expected
    assert max(expected) >= 2

    found = choose("forgetting", train, heads, 5, None, trajectory)
    best = _top(torch.tensor(expected), train.groups, 5)
    assert [expected[i] for i in found] == [expected[i] for i in best]


def test_only_right_then_wrong_is_forgetting():
    """Two rows, one embedding dimension each; the second snapshot swaps the embeddings of one modality."""
    train = feature_set({"a": torch.eye(2), "b": torch.eye(2)})
    same, swapped = torch.eye(2), torch.eye(2).flip(0)
    good, bad = {"a": same, "b": same}, {"a": same, "b": swapped}
    assert forgetting_counts(train, [good, bad]).tolist() == [1, 1]
    assert forgetting_counts(train, [bad, good]).tolist() == [0, 0]
    assert forgetting_counts(train, [bad, bad, bad]).tolist() == [0, 0]
    assert forgetting_counts(train, [good, bad, good, bad, bad]).tolist() == [2, 2]


def test_half_of_the_directions_is_no_majority():
    """Row 1 of b points near row 0: a finds it, but it finds row 0 of a."""
    train = feature_set({"a": torch.eye(2), "b": torch.eye(2)})
    good = {"a": torch.eye(2), "b": torch.eye(2)}
    half = {"a": torch.eye(2), "b": torch.tensor([[1.0, 0.9], [0.0, 0.1]])}
    assert forgetting_counts(train, [good, half]).tolist() == [0, 1]


def test_most_directions_are_a_majority():
    """Of four modalities one is swapped: 6 of 12 directions; of five: 12 of 20."""
    same, swapped = torch.eye(2), torch.eye(2).flip(0)
    for names, expected in (("abcd", [1, 1]), ("abcde", [0, 0])):
        good = dict.fromkeys(names, same)
        assert forgetting_counts(feature_set(good), [good, {**good, "a": swapped}]).tolist() == expected


@pytest.mark.parametrize("trajectory", [None, [], [{}]])
def test_forgetting_says_that_it_needs_a_trajectory(trajectory):
    train, heads = random_problem(2, 6, seed=8)
    snapshots = [heads] if trajectory == [{}] else trajectory
    with pytest.raises(InputError, match=f"forgetting.*needs at least 2 snapshots, but got {len(snapshots or [])}"):
        choose("forgetting", train, heads, 3, None, snapshots)


def test_equal_counts_are_taken_at_random():
    train, heads = random_problem(2, 30, seed=9)
    frozen = [heads, heads]
    drawn = {
        tuple(choose("forgetting", train, heads, 3, torch.Generator().manual_seed(seed), frozen)) for seed in range(5)
    }
    assert len(drawn) == 5
