"""Ranks and recall against brute force, all tie-breaks, and trec_eval."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
import pytrec_eval
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnidistill.core.errors import InputError, NotFiniteError
from omnidistill.evaluation import retrieval
from omnidistill.evaluation.retrieval import (
    RECALL_AT,
    first_positive_ranks,
    hits,
    mean_recall,
    ranks_by_direction,
    recall,
    recalls,
)

laws = settings(max_examples=60, deadline=None)


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
    assert first_positive_ranks(*case, chunk_bytes=chunk_bytes).tolist() == expected
    assert first_positive_ranks(*case).tolist() == expected


@pytest.mark.parametrize(
    ("scores", "positive"),
    [
        ([1, 1, 1, 1, 0, 2], [True, False, False, False, False, False]),
        ([-1, -1, -1, -1, -1, -1], [True, True, False, False, False, False]),
        ([3, 3, 3, 0, 3, -4], [True, True, True, True, False, False]),
        ([-2, -1, -1, -3, -1, -1], [True, True, False, False, True, False]),
    ],
)
def test_the_tie_rule_is_the_mean_over_all_tie_breaks(scores: list[int], positive: list[bool]) -> None:
    ranks = []
    for order in permutations(range(len(scores))):
        ranking = sorted(order, key=lambda item: -scores[item])
        ranks.append(1 + next(place for place, item in enumerate(ranking) if positive[item]))
    gallery = torch.tensor(scores, dtype=torch.float32)[:, None]
    groups = torch.tensor([0 if p else 1 for p in positive])
    [rank] = first_positive_ranks(torch.ones(1, 1), gallery, torch.tensor([0]), groups).tolist()
    assert rank == pytest.approx(sum(ranks) / len(ranks), abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, -90.0], ids=["mixed signs", "all scores negative"])
def test_hits_agree_with_trec_eval(shift: float) -> None:
    generator = torch.Generator().manual_seed(3)
    groups = torch.randint(40, (150,), generator=generator)
    query = torch.randn(150, 8, generator=generator, dtype=torch.float64)
    gallery = query + 1.5 * torch.randn(150, 8, generator=generator, dtype=torch.float64)
    query = torch.cat([query, torch.ones(150, 1)], 1)  # adds `shift` to every score, which changes no rank
    gallery = torch.cat([gallery, torch.full((150, 1), shift)], 1)
    scores = (query @ gallery.T).tolist()
    assert min(map(min, scores)) < 0
    assert (max(map(max, scores)) < 0) == (shift < 0)
    names = [f"item{i}" for i in range(150)]
    relevance = {
        f"query{q}": {name: int(groups[i] == groups[q]) for i, name in enumerate(names)} for q in range(len(query))
    }
    run = {f"query{q}": dict(zip(names, row, strict=True)) for q, row in enumerate(scores)}
    judged = pytrec_eval.RelevanceEvaluator(relevance, {"success.1,5,10"}).evaluate(run)

    ranks = first_positive_ranks(query, gallery, groups, groups)
    for k in RECALL_AT:
        ours = (ranks <= k).double().tolist()
        assert ours == [judged[f"query{q}"][f"success_{k}"] for q in range(len(query))]
        assert 0.05 < sum(ours) / len(ours) < 0.99  # the comparison could have failed


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
    assert first_positive_ranks(query, distinct[kind], groups, groups).tolist() == expected


@pytest.mark.parametrize("dtypes", [(torch.bfloat16, torch.bfloat16), (torch.float16, torch.float32)])
def test_half_precision_embeddings_are_multiplied_in_single(dtypes: tuple[torch.dtype, torch.dtype]) -> None:
    generator = torch.Generator().manual_seed(4)
    query = torch.randn(200, 6, generator=generator).to(dtypes[0])
    gallery = torch.randn(200, 6, generator=generator).to(dtypes[1])
    groups = torch.arange(200)
    expected = ranks_by_hand(query, gallery, groups, groups)
    assert first_positive_ranks(query, gallery, groups, groups).tolist() == expected


def test_collapsed_heads_do_not_look_like_retrieval() -> None:
    same = torch.full((100, 16), 0.3)
    ranks = ranks_by_direction({"a": same, "b": same.clone()}, torch.arange(100))
    assert mean_recall(ranks) == {1: 0.0, 5: 0.0, 10: 0.0}
    assert all((r == 1 + 99 / 2).all() for r in ranks.values())


def test_one_item_and_cut_offs_beyond_the_gallery() -> None:
    ranks = ranks_by_direction({"a": torch.tensor([[-1.0]]), "b": torch.tensor([[2.0]])}, torch.tensor([7]))
    assert recalls(ranks, at=(1, 50)) == {("a", "b"): {1: 1.0, 50: 1.0}, ("b", "a"): {1: 1.0, 50: 1.0}}


def test_several_positives_count_once_at_the_best() -> None:
    gallery = torch.tensor([[5.0], [4.0], [3.0], [2.0]])
    ranks = first_positive_ranks(torch.ones(1, 1), gallery, torch.tensor([1]), torch.tensor([0, 1, 1, 0]))
    assert ranks.tolist() == [2.0]


def test_group_sizes_of_every_kind_in_one_gallery() -> None:
    generator = torch.Generator().manual_seed(1)
    groups = torch.cat([torch.zeros(300), torch.arange(1, 60), torch.full((41,), 99)]).long()
    groups = groups[torch.randperm(400, generator=generator)]
    query, gallery = torch.randint(-4, 5, (2, 400, 5), generator=generator).double()
    expected = ranks_by_hand(query, gallery, groups, groups)
    for chunk_bytes in (1, 2**15, 2**26):
        assert first_positive_ranks(query, gallery, groups, groups, chunk_bytes=chunk_bytes).tolist() == expected


@laws
@given(cases(), st.randoms(use_true_random=False))
def test_permuting_queries_permutes_ranks_and_permuting_items_changes_nothing(case, random) -> None:
    query, gallery, query_groups, gallery_groups = case
    rows, items = list(range(len(query))), list(range(len(gallery)))
    random.shuffle(rows)
    random.shuffle(items)
    ranks = first_positive_ranks(*case)
    moved = first_positive_ranks(query[rows], gallery[items], query_groups[rows], gallery_groups[items])
    assert torch.equal(moved, ranks[rows])


@laws
@given(cases(), st.integers(1, 4))
def test_scaling_and_relabelling_change_nothing(case: tuple[Tensor, ...], power: int) -> None:
    query, gallery, query_groups, gallery_groups = case
    scaled = first_positive_ranks(query * 2**power, gallery, 10 - 3 * query_groups, 10 - 3 * gallery_groups)
    assert torch.equal(scaled, first_positive_ranks(*case))


def three_modalities() -> tuple[dict[str, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(5)
    centre = torch.randn(40, 6, generator=generator)
    names = ("image", "text", "audio")
    noisy = {name: centre + 0.7 * torch.randn(40, 6, generator=generator) for name in names}
    return noisy, torch.arange(40) // 2


def test_renaming_and_reordering_modalities_changes_nothing_but_names() -> None:
    embeddings, groups = three_modalities()
    ranks = ranks_by_direction(embeddings, groups)
    new = {"image": "x", "text": "y", "audio": "z"}
    renamed = ranks_by_direction({new[name]: embeddings[name] for name in ("audio", "image", "text")}, groups)
    assert len(ranks) == len(renamed) == 6
    for (query, gallery), r in ranks.items():
        assert torch.equal(renamed[new[query], new[gallery]], r)
    assert mean_recall(renamed) == pytest.approx(mean_recall(ranks))


def test_directions_and_recalls_equal_brute_force() -> None:
    embeddings, groups = three_modalities()
    ranks = ranks_by_direction(embeddings, groups)
    by_hand = {
        (q, g): ranks_by_hand(embeddings[q], embeddings[g], groups, groups) for q, g in permutations(embeddings, 2)
    }
    assert {direction: r.tolist() for direction, r in ranks.items()} == by_hand
    expected = {d: {k: sum(r <= k for r in rs) / 40 for k in RECALL_AT} for d, rs in by_hand.items()}
    assert recalls(ranks) == expected
    assert 0.1 < expected["text", "image"][1] < 0.9
    assert mean_recall(ranks) == pytest.approx({k: sum(e[k] for e in expected.values()) / 6 for k in RECALL_AT})
    each_query = hits(ranks)
    assert each_query.shape == (40, 3)
    for row in range(40):
        for column, k in enumerate(RECALL_AT):
            assert each_query[row, column] == pytest.approx(sum(rs[row] <= k for rs in by_hand.values()) / 6)


MEMORY_PROBE = """
import resource, sys, torch
from omnidistill.evaluation.retrieval import first_positive_ranks
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
rows, groups = torch.randn(16_000, 4), torch.arange(16_000)
first_positive_ranks(rows[:8], rows, groups[:8], groups, chunk_bytes=2**24)
before = peak()
for labels in (groups, groups % 2):
    first_positive_ranks(rows[:4000], rows, labels[:4000], labels, chunk_bytes=2**24)
print(peak() - before)
"""


def test_memory_stays_within_the_chunk_for_small_and_giant_groups() -> None:
    probe = subprocess.run([sys.executable, "-c", MEMORY_PROBE], check=True, capture_output=True, text=True)
    assert int(probe.stdout) < 2**24 + 20e6  # all scores at once would be 256 MB, all positives at once 256 MB more


def test_counts_stay_exact_beyond_what_float32_can_count() -> None:
    scores = torch.ones(1, 2**24 + 3)
    higher, tied = retrieval._higher_and_tied(scores, torch.zeros(1, 1))
    assert (higher.tolist(), tied.tolist()) == ([2**24 + 3], [0])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("side", ["query", "gallery"])
def test_not_finite_embeddings_are_refused_by_side_and_row(side: str, bad: float) -> None:
    sides = {"query": torch.ones(6, 3), "gallery": torch.ones(6, 3)}
    sides[side][4, 1] = bad
    sides[side][5, 0] = bad
    with pytest.raises(NotFiniteError, match=rf"{side}.*row 4"):
        first_positive_ranks(sides["query"], sides["gallery"], torch.arange(6), torch.arange(6))


def test_not_finite_embeddings_are_refused_by_modality() -> None:
    embeddings, groups = three_modalities()
    embeddings["audio"][9, 2] = float("nan")
    with pytest.raises(NotFiniteError, match=r"'audio'.*row 9"):
        ranks_by_direction(embeddings, groups)


def test_products_that_overflow_are_refused() -> None:
    large = torch.full((3, 2), 1e30)
    with pytest.raises(NotFiniteError, match="overflow"):
        first_positive_ranks(large, large, torch.arange(3), torch.arange(3))


def test_a_query_without_positive_is_refused_by_row() -> None:
    with pytest.raises(InputError, match=r"query row 2 \(group 8\) has no positive"):
        first_positive_ranks(torch.ones(3, 2), torch.ones(2, 2), torch.tensor([1, 4, 8]), torch.tensor([4, 1]))


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        (((3, 2), (3, 4), 3, 3), "width 2, gallery rows 4"),
        (((3, 2), (3, 2), 2, 3), "query has 3 rows and 2 group labels"),
        (((3, 2), (3, 2), 3, 4), "gallery has 3 rows and 4 group labels"),
        (((0, 2), (3, 2), 0, 3), "query has no rows"),
        (((3, 2), (0, 2), 3, 0), "gallery has no rows"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes: tuple, found: str) -> None:
    query, gallery, num_query_groups, num_gallery_groups = shapes
    check = getattr(first_positive_ranks, "__wrapped__", first_positive_ranks)  # what users without the type hook call
    with pytest.raises(InputError, match=found):
        check(
            torch.zeros(query),
            torch.zeros(gallery),
            torch.zeros(num_query_groups).long(),
            torch.zeros(num_gallery_groups).long(),
        )


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        ({"a": (3, 2)}, r"at least two modalities, found \['a'\]"),
        ({"a": (3, 2), "b": (4, 2)}, r"'b' have shape \(4, 2\), expected \(3, 2\)"),
        ({"a": (3, 2), "b": (3, 5)}, r"'b' have shape \(3, 5\), expected \(3, 2\)"),
    ],
)
def test_modalities_that_do_not_fit_are_refused(shapes: dict[str, tuple[int, int]], found: str) -> None:
    with pytest.raises(InputError, match=found):
        ranks_by_direction({name: torch.ones(shape) for name, shape in shapes.items()}, torch.arange(3))


def test_recall_takes_arrays_and_groups_of_any_type(normal: Callable[..., Tensor]) -> None:
    embeddings = {"a": normal(6, 4, seed=1), "b": normal(6, 4, seed=2), "c": normal(6, 4, seed=3)}
    labels = ["x", "x", "y", "z", "z", "w"]
    codes = torch.tensor([0, 0, 1, 2, 2, 3])
    expected = recalls(ranks_by_direction(embeddings, codes), (1, 3))
    arrays = {name: x.numpy() for name, x in embeddings.items()}
    for rows, groups in ((embeddings, labels), (arrays, tuple(labels)), (embeddings, codes), (arrays, codes.numpy())):
        assert recall(rows, groups, at=(1, 3)) == expected
    assert set(recall(embeddings, labels)["a", "c"]) == {1, 5, 10}


@pytest.mark.parametrize(
    ("embeddings", "groups", "at", "message"),
    [
        ({"a": [[1.0]], "b": [[1.0]]}, ["x"], (0,), r"at=\(0,\): cut-offs are whole numbers of at least 1"),
        ({"a": [[1.0]], "b": [1.0]}, ["x"], (1,), r"embeddings of 'b': shape is \(1,\)"),
        ({"a": [[1.0]], "b": [[1.0]]}, ["x", "y"], (1,), r"embeddings of 'a' have shape \(1, 1\), expected \(2, 1\)"),
        ({"a": [[1.0]]}, ["x"], (1,), "at least two modalities"),
    ],
)
def test_recall_of_what_does_not_fit_is_refused(embeddings: Any, groups: Any, at: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        recall(embeddings, groups, at)
