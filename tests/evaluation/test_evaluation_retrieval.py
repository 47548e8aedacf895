"""The counts behind every metric against brute force, in any chunks, and the ranks that follow from them."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnidistill.core.errors import InputError, NotFiniteError
from omnidistill.evaluation import retrieval
from omnidistill.evaluation.retrieval import rank

laws = settings(max_examples=60, deadline=None)


def expected_ranks(*case: Tensor) -> Tensor:
    """The expected rank of the first positive, which must not depend on whether the other positives are ranked too."""
    ranks = rank(*case).ranks()
    assert torch.equal(rank(*case, all_positives=False).ranks(), ranks)
    return ranks


def rank_by_hand(scores: list[float], positive: list[bool]) -> float:
    best = max(s for s, p in zip(scores, positive, strict=True) if p)
    above = sum(s > best for s in scores)
    tied_positives = sum(s == best and p for s, p in zip(scores, positive, strict=True))
    tied_negatives = sum(s == best and not p for s, p in zip(scores, positive, strict=True))
    return 1 + above + tied_negatives / (tied_positives + 1)


def ranks_by_hand(query: Tensor, gallery: Tensor, query_groups: Tensor, gallery_groups: Tensor) -> list[float]:
    rows, items = query.double().tolist(), gallery.double().tolist()
    return [
        rank_by_hand(
            [sum(a * b for a, b in zip(row, item, strict=True)) for item in items],
            [group == other for other in gallery_groups.tolist()],
        )
        for row, group in zip(rows, query_groups.tolist(), strict=True)
    ]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Small whole numbers: products are exact, many scores tie, and many are negative or zero."""
    num_queries, num_items, width = draw(st.integers(1, 12)), draw(st.integers(1, 15)), draw(st.integers(1, 4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    reach = draw(st.integers(1, 3))
    query = torch.randint(-reach, reach + 1, (num_queries, width), generator=generator)
    gallery = torch.randint(-reach, reach + 1, (num_items, width), generator=generator)
    labels = torch.randint(-5, 5, (draw(st.integers(1, 5)),), generator=generator)
    gallery_groups = labels[torch.randint(len(labels), (num_items,), generator=generator)]
    query_groups = gallery_groups[torch.randint(num_items, (num_queries,), generator=generator)]
    dtype = draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]))
    return query.to(dtype), gallery.to(dtype), query_groups, gallery_groups


@laws
@given(cases(), st.integers(1, 3000))
def test_ranks_equal_brute_force_whatever_the_chunk(case: tuple[Tensor, ...], chunk_bytes: int) -> None:
    expected = ranks_by_hand(*case)
    assert expected_ranks(*case).tolist() == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "_CHUNK_BYTES", chunk_bytes)
        assert expected_ranks(*case).tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_distinct", [1, 6])
def test_equal_gallery_rows_tie_although_products_round(dtype: torch.dtype, num_distinct: int) -> None:
    generator = torch.Generator().manual_seed(0)
    distinct = torch.randn(num_distinct, 77, generator=generator, dtype=dtype)
    if num_distinct > 1:
        distinct[0] = -0.0
        distinct[1] = 0.0  # equal numbers in different bits
    kind = torch.randint(num_distinct, (1001,), generator=generator)
    groups = torch.arange(1001) // 7
    query = torch.randn(1001, 77, generator=generator, dtype=dtype)
    by_kind = (query.double() @ distinct.double().T).tolist()
    expected = [
        rank_by_hand([row[k] for k in kind.tolist()], (groups == groups[q]).tolist()) for q, row in enumerate(by_kind)
    ]
    assert expected_ranks(query, distinct[kind], groups, groups).tolist() == expected


@pytest.mark.parametrize("dtypes", [(torch.bfloat16, torch.bfloat16), (torch.float16, torch.float32)])
def test_half_precision_embeddings_are_multiplied_in_single(dtypes: tuple[torch.dtype, torch.dtype]) -> None:
    generator = torch.Generator().manual_seed(4)
    query = torch.randn(200, 6, generator=generator).to(dtypes[0])
    gallery = torch.randn(200, 6, generator=generator).to(dtypes[1])
    groups = torch.arange(200)
    expected = ranks_by_hand(query, gallery, groups, groups)
    assert expected_ranks(query, gallery, groups, groups).tolist() == expected


def test_several_positives_count_once_at_the_best() -> None:
    gallery = torch.tensor([[5.0], [4.0], [3.0], [2.0]])
    ranks = expected_ranks(torch.ones(1, 1), gallery, torch.tensor([1]), torch.tensor([0, 1, 1, 0]))
    assert ranks.tolist() == [2.0]


def test_group_sizes_of_every_kind_in_one_gallery(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    groups = torch.cat([torch.zeros(300), torch.arange(1, 60), torch.full((41,), 99)]).long()
    groups = groups[torch.randperm(400, generator=generator)]
    query, gallery = torch.randint(-4, 5, (2, 400, 5), generator=generator).double()
    expected = ranks_by_hand(query, gallery, groups, groups)
    for chunk_bytes in (1, 2**15, 2**26):
        monkeypatch.setattr(retrieval, "_CHUNK_BYTES", chunk_bytes)
        assert expected_ranks(query, gallery, groups, groups).tolist() == expected


@laws
@given(cases(), st.randoms(use_true_random=False))
def test_permuting_queries_permutes_ranks_and_permuting_items_changes_nothing(case, random) -> None:
    query, gallery, query_groups, gallery_groups = case
    rows, items = list(range(len(query))), list(range(len(gallery)))
    random.shuffle(rows)
    random.shuffle(items)
    ranks = expected_ranks(*case)
    moved = expected_ranks(query[rows], gallery[items], query_groups[rows], gallery_groups[items])
    assert torch.equal(moved, ranks[rows])


@laws
@given(cases(), st.integers(1, 4))
def test_scaling_and_relabelling_change_nothing(case: tuple[Tensor, ...], power: int) -> None:
    query, gallery, query_groups, gallery_groups = case
    scaled = expected_ranks(query * 2**power, gallery, 10 - 3 * query_groups, 10 - 3 * gallery_groups)
    assert torch.equal(scaled, expected_ranks(*case))


MEMORY_PROBE = """
import resource, sys, torch
from omnidistill.evaluation import retrieval
retrieval._CHUNK_BYTES = 2**24
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
rows, groups = torch.randn(16_000, 4), torch.arange(16_000)
retrieval.rank(rows[:8], rows, groups[:8], groups)
before = peak()
for labels in (groups, groups % 2):
    retrieval.rank(rows[:1500], rows, labels[:1500], labels)
print(peak() - before)
"""


def test_memory_stays_within_the_chunk_for_small_and_giant_groups() -> None:
    probe = subprocess.run([sys.executable, "-c", MEMORY_PROBE], check=True, capture_output=True, text=True)
    assert int(probe.stdout) < 2**24 + 20e6  # all scores at once would be 96 MB, all positives at once 96 MB more


def test_counts_stay_exact_beyond_what_float32_can_count() -> None:
    above, tied = retrieval._above_and_tied(torch.ones(1, 2**24 + 3), torch.zeros(1, 1))
    assert (above.tolist(), tied.tolist()) == ([[2**24 + 3]], [[0]])


@laws
@given(cases())
def test_binary_search_counts_what_comparisons_count(case: tuple[Tensor, ...]) -> None:
    searched = rank(*case)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "_FEW", 0)
        assert torch.equal(rank(*case).packed(), searched.packed())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("side", ["query", "gallery"])
def test_not_finite_embeddings_are_refused_by_side_and_row(side: str, bad: float) -> None:
    sides = {"query": torch.ones(6, 3), "gallery": torch.ones(6, 3)}
    sides[side][4, 1] = bad
    sides[side][5, 0] = bad
    with pytest.raises(NotFiniteError, match=rf"{side}.*row 4"):
        expected_ranks(sides["query"], sides["gallery"], torch.arange(6), torch.arange(6))


def test_products_that_overflow_are_refused() -> None:
    large = torch.full((3, 2), 1e30)
    with pytest.raises(NotFiniteError, match="overflow"):
        expected_ranks(large, large, torch.arange(3), torch.arange(3))


def test_a_query_without_positive_is_refused_by_row() -> None:
    with pytest.raises(InputError, match=r"query row 2 \(group 8\) has no positive"):
        expected_ranks(torch.ones(3, 2), torch.ones(2, 2), torch.tensor([1, 4, 8]), torch.tensor([4, 1]))


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        (((3, 2), (3, 4), 3, 3), "width 2, but gallery rows have width 4"),
        (((3, 2), (3, 2), 2, 3), "query has 3 rows but 2 group labels"),
        (((3, 2), (3, 2), 3, 4), "gallery has 3 rows but 4 group labels"),
        (((0, 2), (3, 2), 0, 3), "query has no rows"),
        (((3, 2), (0, 2), 3, 0), "gallery has no rows"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes: tuple, found: str) -> None:
    query, gallery, num_query_groups, num_gallery_groups = shapes
    check = getattr(rank, "__wrapped__", rank)  # what users without the type hook call
    with pytest.raises(InputError, match=found):
        check(
            torch.zeros(query),
            torch.zeros(gallery),
            torch.zeros(num_query_groups).long(),
            torch.zeros(num_gallery_groups).long(),
        )
