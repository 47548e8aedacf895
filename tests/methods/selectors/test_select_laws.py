"""Laws of every selector: distinct rows, groups take turns, the generator is the only source of chance, every modality
has an effect, chunks change nothing, and memory stays below n x n.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from select_problems import ROW_SELECTORS, choose, feature_set, random_problem, trajectory_from
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.methods.selectors import RowSelector, selectors
from omnidistill.methods.selectors.embeddings import row_chunks
from omnidistill.methods.selectors.turns import first_by_turns
from omnidistill.models.heads import Heads

DRAW = {"random", "k-medoids", "aligned-k-medoids", "forgetting"}
EVERY = pytest.mark.parametrize("name", ROW_SELECTORS)
MODALITIES = pytest.mark.parametrize("num_modalities", [2, 3, 4])
CHUNKED = ("k-medoids", "facility-location", "el2n", "grand", "forgetting", "craig")
"""Selectors of real rows that compare rows in blocks of `memory.CHUNK_BYTES`."""


def _select(
    name: str, train: FeatureSet, heads: Heads, size: int, seed: int = 0, trajectory: list[Heads] | None = None
) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return choose(name, train, heads, size, generator, trajectory or trajectory_from(heads, 5, 0))


@EVERY
@given(st.integers(2, 4), st.integers(1, 4), st.integers(1, 30), st.integers(0, 1000))
@settings(deadline=None, max_examples=12)
def test_rows_are_distinct_and_groups_take_turns(name, num_modalities, rows_per_group, size, seed):
    train, heads = random_problem(num_modalities, 30, seed, rows_per_group)
    rows = _select(name, train, heads, size, seed)
    assert len(set(rows)) == len(rows) == size
    assert all(0 <= row < 30 for row in rows)
    if name != "aligned-k-medoids":  # its turns are among the rows that it keeps
        given_rows = {group: sum(train.groups[row] == group for row in rows) for group in train.groups}
        unfilled = [count for group, count in given_rows.items() if count < train.groups.count(group)]
        assert max(given_rows.values()) <= min(unfilled, default=30) + 1


@EVERY
@MODALITIES
def test_the_generator_decides_alone(name, num_modalities):
    train, heads = random_problem(num_modalities, 40, seed=1)
    first = _select(name, train, heads, 8, seed=1)
    assert _select(name, train, heads, 8, seed=1) == first
    others = [_select(name, train, heads, 8, seed=seed) for seed in range(2, 6)]
    assert any(rows != first for rows in others) == (name in DRAW)


@pytest.mark.parametrize("name", sorted(set(ROW_SELECTORS) - DRAW))
@MODALITIES
def test_the_order_of_rows_does_not_matter(name, num_modalities):
    train, heads = random_problem(num_modalities, 30, seed=2, rows_per_group=2)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(5))
    moved = train.select(order)
    expected = [train.ids[row] for row in _select(name, train, heads, 9)]
    assert [moved.ids[row] for row in _select(name, moved, heads, 9)] == expected


@pytest.mark.parametrize("name", sorted(set(ROW_SELECTORS) - DRAW))
def test_the_order_of_modalities_does_not_matter(name):
    train, heads = random_problem(3, 30, seed=3)
    turned = feature_set(dict(reversed(train.features.items())))
    assert _select(name, train, heads, 8) == _select(name, turned, heads, 8)


@pytest.mark.parametrize("name", sorted(set(ROW_SELECTORS) - {"random"}))
@MODALITIES
def test_every_modality_counts(name, num_modalities):
    train, heads = random_problem(num_modalities, 40, seed=4)
    expected = _select(name, train, heads, 12)
    for modality in train.modalities:
        order = torch.randperm(40, generator=torch.Generator().manual_seed(6))
        shuffled = feature_set({**train.features, modality: train.features[modality][order]})
        assert set(_select(name, shuffled, heads, 12)) != set(expected)


@EVERY
def test_scaling_an_output_changes_only_what_weighs_gradients(name):
    """Rows are directions: the length of one modality's head matters to no selector but those of gradients."""
    train, heads = random_problem(3, 40, seed=5)
    snapshots = trajectory_from(heads, 5, 0)
    scaled = [{**snapshot, "b": 4 * snapshot["b"]} for snapshot in snapshots]
    same = _select(name, train, heads, 10, 0, snapshots) == _select(name, train, scaled[0], 10, 0, scaled)
    assert same == (name not in {"grand", "craig"})


@pytest.mark.parametrize("name", CHUNKED)
@pytest.mark.parametrize("num_bytes", [1, 4000, 100_000])
def test_the_chunk_size_changes_nothing(name, num_bytes, chunk_bytes):
    train, heads = random_problem(3, 50, seed=6, rows_per_group=2)
    expected = _select(name, train, heads, 15)
    with chunk_bytes(num_bytes):
        assert _select(name, train, heads, 15) == expected


def test_chunks_have_as_many_rows_as_fit(chunk_bytes):
    """Eight float32 blocks of the rows of a chunk, with five columns each, fit in its memory."""
    for num_bytes, sizes in ((1, [1] * 7), (3 * 8 * 4 * 5, [3, 3, 1]), (4 * 8 * 4 * 5 - 1, [3, 3, 1]), (10**6, [7])):
        with chunk_bytes(num_bytes):
            chunks = list(row_chunks(7, 5))
        assert [len(range(7)[rows]) for rows in chunks] == sizes
        assert [row for rows in chunks for row in range(7)[rows]] == list(range(7))


class _LargestTensor(TorchDispatchMode):
    """Remembers the most elements that any operation returned."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_flatten(out)[0] if isinstance(leaf, torch.Tensor)]
        self.elements = max(self.elements, *sizes, 0)
        return out


@pytest.mark.parametrize("name", [*CHUNKED, "herding", "k-center", "prototypes"])
def test_no_table_of_all_pairs_is_made(name, chunk_bytes):
    train, heads = random_problem(3, 300, seed=7)
    num_bytes, trajectory = 2**16, trajectory_from(heads, 2, 0)
    with chunk_bytes(num_bytes), _LargestTensor() as largest:
        selectors.build(name).choose(train, heads, 10, torch.Generator(), trajectory)
    assert 0 < largest.elements <= max(num_bytes // 4, 300 * 3 * 7)


def test_random_rows_are_uniform_over_rows_of_distinct_groups():
    train, heads = random_problem(2, 12, seed=8, rows_per_group=3)
    counts = torch.zeros(12)
    for seed in range(600):
        rows = _select("random", train, heads, 4, seed)
        assert len({train.groups[row] for row in rows}) == 4
        counts[rows] += 1
    assert bool((counts - 200).abs().max() < 5 * (600 * (1 / 3) * (2 / 3)) ** 0.5)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.randoms())
@settings(deadline=None)
def test_turns_of_a_ranking(groups, random):
    ranking = list(range(len(groups)))
    random.shuffle(ranking)
    codes = {group: code for code, group in enumerate(dict.fromkeys(groups))}
    seen: dict[int, int] = {}
    turn = {}
    for row in ranking:
        turn[row] = seen[groups[row]] = seen.get(groups[row], -1) + 1
    expected = sorted(ranking, key=lambda row: turn[row])
    found = first_by_turns(torch.tensor(ranking), torch.tensor([codes[group] for group in groups]), len(groups))
    assert found.tolist() == expected


@EVERY
@pytest.mark.parametrize("size", [0, -3, 11])
def test_a_size_without_rows_is_refused(name, size):
    train, heads = random_problem(2, 10, seed=9)
    with pytest.raises(InputError, match=f"size is {size}, but there are 10 training rows; use a size from 1 to 10"):
        _select(name, train, heads, size)


@EVERY
@MODALITIES
def test_all_rows_can_be_selected(name, num_modalities):
    train, heads = random_problem(num_modalities, 10, seed=10, rows_per_group=3)
    assert sorted(_select(name, train, heads, 10)) == list(range(10))


@EVERY
def test_identical_rows_can_be_selected(name):
    train, heads = random_problem(3, 12, seed=11)
    train = feature_set({modality: x[torch.arange(12) % 2] for modality, x in train.features.items()})
    assert len(set(_select(name, train, heads, 9))) == 9


@pytest.mark.parametrize("name", sorted(set(ROW_SELECTORS) - {"random"}))
def test_heads_that_do_not_fit_are_refused(name):
    train, heads = random_problem(3, 10, seed=12)
    missing = [{modality: heads[modality] for modality in ("a", "b")}] * 3
    with pytest.raises(InputError, match="no head for modality 'c'"):
        _select(name, train, missing[0], 4, 0, missing)


@EVERY
def test_only_selectors_that_declare_it_need_a_trajectory(name):
    train, heads = random_problem(2, 10, seed=15)
    if selectors.get(name).uses_trajectory:
        with pytest.raises(InputError, match="needs at least 2 snapshots"):
            choose(name, train, heads, 4)
    else:
        assert len(choose(name, train, heads, 4)) == 4


def test_an_unknown_selector_is_refused_with_the_nearest():
    train, heads = random_problem(2, 10, seed=13)
    with pytest.raises(
        InputError, match=r"selector 'k-centre' is not installed; installed: random, .*did you mean 'k-center'\?"
    ):
        _select("k-centre", train, heads, 4)


def test_a_row_selector_needs_only_rows():
    class First(RowSelector):
        def rows(self, train, start, size, generator, trajectory=None):
            return torch.arange(size)

    train, heads = random_problem(2, 10, seed=14, rows_per_group=2)
    selection = First().choose(train, heads, 3, torch.Generator())
    assert selection.ids == train.ids[:3]
    assert selection.group_codes.tolist() == [0, 0, 1]
    assert all(torch.equal(rows, train.features[name][:3]) for name, rows in selection.rows.items())
    assert First().most_rows(train) == 10
