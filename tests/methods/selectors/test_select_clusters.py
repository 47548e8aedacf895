"""k-means, k-medoids, prototypes and group means."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from select_problems import allowed_rows, choose, feature_set, planted_clusters, random_problem, reference_embeddings

from omnidistill.core.errors import InputError
from omnidistill.methods.selectors.k_means import cluster_means, k_means
from omnidistill.methods.selectors.k_medoids import nearest_members
from omnidistill.methods.selectors.prototypes import group_means, prototypes


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", ["k-center", "k-medoids", "facility-location"])
@pytest.mark.parametrize("num_modalities", [2, 3, 4])
def test_planted_clusters_are_covered(name, num_modalities):
    for seed in range(5):
        train, heads, cluster = planted_clusters(num_modalities, [30, 3, 8, 3, 16, 5], seed)
        rows = choose(name, train, heads, 6, _seeded(seed))
        assert {cluster[i] for i in rows} == set(range(6))


@given(st.integers(0, 10**6), st.integers(1, 25))
@settings(deadline=None, max_examples=40)
def test_k_means_ends_at_a_local_optimum_without_empty_clusters(chunk_bytes, seed, num_clusters):
    points = torch.randn(25, 3, generator=_seeded(seed))
    with chunk_bytes(3000):
        labels = k_means(points, num_clusters, _seeded(seed))
    assert sorted(set(labels.tolist())) == list(range(num_clusters))
    means = torch.stack([points[labels == k].mean(0) for k in range(num_clusters)])
    assert torch.allclose(cluster_means(points, labels, num_clusters), means, atol=1e-6)
    distances = torch.cdist(points.double(), means.double())
    assert bool((distances[range(25), labels] <= distances.amin(1) + 1e-5).all())


@given(st.lists(st.sampled_from([0.0, 1.0, 5.0]), min_size=4, max_size=12), st.data())
@settings(deadline=None, max_examples=40)
def test_equal_points_leave_no_cluster_empty(values, data):
    num_clusters = data.draw(st.integers(1, len(values)))
    labels = k_means(torch.tensor(values).unsqueeze(1), num_clusters, _seeded(0))
    assert sorted(set(labels.tolist())) == list(range(num_clusters))


def test_k_means_seeds_far_apart():
    """200 points at 0 and two at 100 and 200: seeds drawn uniformly would miss the two nearly always."""
    points = torch.cat([torch.zeros(200, 1), torch.tensor([[100.0], [200.0]])])
    for seed in range(10):
        labels = k_means(points, 3, _seeded(seed))
        assert len(set(labels[[0, 200, 201]].tolist())) == 3


@pytest.mark.parametrize("rows_per_group", [1, 2, 3])
@pytest.mark.parametrize("size", [3, 8, 16])
def test_medoids_are_the_allowed_members_nearest_to_each_mean(rows_per_group, size):
    """Any clusters will do, also ones that k-means would not find."""
    points = torch.randn(24, 3, generator=_seeded(size))
    labels = torch.randint(size, (24,), generator=_seeded(1))
    labels[:size] = torch.arange(size)
    groups = tuple(str(i // rows_per_group) for i in range(24))
    found = nearest_members(points, labels, size, torch.arange(24) // rows_per_group).tolist()
    members = [[i for i in range(24) if labels[i] == k] for k in range(size)]
    for t, of_cluster in enumerate(sorted(members, key=len, reverse=True)):
        mean, allowed = points[of_cluster].mean(0), allowed_rows(groups, found[:t])
        candidates = [i for i in allowed if i in of_cluster] or allowed
        assert found[t] in candidates  # the two members of a pair are equally near
        assert (points[found[t]] - mean).norm() <= min((points[i] - mean).norm() for i in candidates) + 1e-5


def test_k_medoids_are_the_medoids_of_k_means_of_the_joint_embeddings():
    train, heads = random_problem(3, 24, seed=1)
    z = reference_embeddings(train, heads)
    points = (torch.cat(z, dim=1) / 3**0.5).float()
    labels = k_means(points, 6, _seeded(3))
    found = choose("k-medoids", train, heads, 6, _seeded(3))
    assert sorted(labels[found].tolist()) == list(range(6))
    for row in found:
        distances = (points - points[labels == labels[row]].mean(0)).norm(dim=1)
        assert distances[row] <= distances[labels == labels[row]].min() + 1e-5


@pytest.mark.parametrize("num_modalities", [2, 3, 4])
def test_prototypes_of_planted_clusters_are_their_means(num_modalities):
    sizes = [20, 4, 9, 12]
    train, heads, cluster = planted_clusters(num_modalities, sizes, seed=2)
    found = prototypes(train, heads, 4, _seeded(0))
    assert list(found) == list(train.modalities)
    order = None
    for name, x in train.features.items():
        means = torch.stack([x[[i for i, c in enumerate(cluster) if c == k]].mean(0) for k in range(4)])
        nearest = torch.cdist(found[name], means).argmin(1)
        assert sorted(nearest.tolist()) == [0, 1, 2, 3]
        assert torch.allclose(found[name], means[nearest], atol=1e-6)
        assert order is None or torch.equal(order, nearest)  # row k of every modality is the same cluster
        order = nearest


def test_as_many_prototypes_as_rows_are_the_rows():
    train, heads = random_problem(3, 15, seed=3)
    found = prototypes(train, heads, 15, _seeded(0))
    matches = torch.cdist(found["a"], train.features["a"]).argmin(1)
    assert sorted(matches.tolist()) == list(range(15))
    for name, x in train.features.items():
        assert torch.equal(found[name], x[matches])


def test_prototypes_cluster_all_modalities_at_once():
    """Each modality tells two of the four kinds apart; only together they show four clusters."""
    kinds = torch.arange(40) % 4
    noise = 0.02 * torch.randn(2, 40, 2, generator=_seeded(0))
    features = {"a": torch.eye(2)[kinds // 2] + noise[0], "b": torch.eye(2)[kinds % 2] + noise[1]}
    found = prototypes(feature_set(features), {"a": torch.eye(2), "b": torch.eye(2)}, 4, _seeded(1))
    pairs = {(int(a.argmax()), int(b.argmax())) for a, b in zip(found["a"], found["b"], strict=True)}
    assert pairs == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_prototypes_do_not_depend_on_the_chunk_size(chunk_bytes):
    train, heads = random_problem(3, 40, seed=4)
    whole = prototypes(train, heads, 7, _seeded(0))
    with chunk_bytes(700):
        chunked = prototypes(train, heads, 7, _seeded(0))
    assert all(torch.allclose(whole[name], chunked[name]) for name in whole)


def test_group_means_are_means_of_whole_distinct_groups():
    groups = ["x", "y", "x", "z", "y", "x", "w"]
    train, _ = random_problem(3, 7, seed=5)
    train = feature_set(train.features, groups)
    means = {
        name: torch.stack([x[[i for i, g in enumerate(groups) if g == group]].mean(0) for group in "xyzw"])
        for name, x in train.features.items()
    }
    drawn = set()
    for seed in range(10):
        found = group_means(train, 3, _seeded(seed))
        which = torch.cdist(found["a"], means["a"]).argmin(1)
        assert len(set(which.tolist())) == 3
        assert all(torch.allclose(found[name], means[name][which], atol=1e-6) for name in means)
        drawn.add(tuple(which.tolist()))
    assert len(drawn) > 3


@pytest.mark.parametrize("size", [0, -1, 16])
def test_averages_refuse_sizes_without_rows(size):
    train, heads = random_problem(2, 15, seed=6)
    with pytest.raises(InputError, match=f"size is {size}, but there are 15 training rows; use a size from 1 to 15"):
        prototypes(train, heads, size, _seeded(0))
    grouped = feature_set(train.features, [f"group-{i // 3}" for i in range(15)])
    with pytest.raises(InputError, match="size is 6, but there are 5 groups"):
        group_means(grouped, 6, _seeded(0))
