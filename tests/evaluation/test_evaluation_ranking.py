"""Every metric against the enumeration of all tie orders, trec_eval, and laws that hold for all rankings."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import pytrec_eval
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnidistill.evaluation.ranking import Ranking
from omnidistill.evaluation.retrieval import rank
from oracles import expected_hit

CUT_OFFS = (1, 2, 3, 5, 10)
laws = settings(max_examples=80)


def ranking_of(scores: list[float], positive: list[bool]) -> Ranking:
    """The ranking of one query with these scores."""
    gallery = torch.tensor(scores, dtype=torch.float64)[:, None]
    groups = torch.tensor([0 if p else 1 for p in positive])
    return rank(torch.ones(1, 1, dtype=torch.float64), gallery, torch.tensor([0]), groups)


def metrics(ranking: Ranking) -> dict[str, float]:
    found = {f"R@{k}": ranking.hits(k) for k in CUT_OFFS}
    found |= {"rank": ranking.ranks(), "MRR": ranking.reciprocal_ranks()}
    return {name: float(value) for name, value in (found | {"AP": ranking.precision, "nDCG": ranking.gain}).items()}


def metrics_of_order(relevant: list[bool]) -> dict[str, float]:
    """The textbook metrics of one order of items, from first to last."""
    places = [place for place, hit in enumerate(relevant, 1) if hit]
    gain = sum(1 / math.log2(place + 1) for place in places if place <= 10)
    best = sum(1 / math.log2(place + 1) for place in range(1, min(len(places), 10) + 1))
    return {
        **{f"R@{k}": float(places[0] <= k) for k in CUT_OFFS},
        "rank": places[0],
        "MRR": 1 / places[0],
        "AP": sum(number / place for number, place in enumerate(places, 1)) / len(places),
        "nDCG": gain / best,
    }


@laws
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6))
def test_metrics_are_means_over_all_orders_of_tied_items(items: list[tuple[int, bool]]) -> None:
    items = items if any(positive for _, positive in items) else [(items[0][0], True), *items[1:]]
    scores, positive = [float(score) for score, _ in items], [hit for _, hit in items]
    orders = [sorted(order, key=lambda item: -scores[item]) for order in permutations(range(len(items)))]
    every = [metrics_of_order([positive[item] for item in order]) for order in orders]
    expected = {name: sum(each[name] for each in every) / len(every) for name in every[0]}
    assert metrics(ranking_of(scores, positive)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, -90.0], ids=["mixed signs", "all scores negative"])
def test_metrics_without_ties_agree_with_trec_eval(shift: float) -> None:
    draw = torch.Generator().manual_seed(3)
    groups = torch.randint(40, (150,), generator=draw)
    query = torch.randn(150, 8, generator=draw, dtype=torch.float64)
    gallery = query + 1.5 * torch.randn(150, 8, generator=draw, dtype=torch.float64)
    query = torch.cat([query, torch.ones(150, 1)], 1)  # adds `shift` to every score, which changes no rank
    gallery = torch.cat([gallery, torch.full((150, 1), shift)], 1)
    scores = (query @ gallery.T).tolist()
    assert (max(map(max, scores)) < 0) == (shift < 0)
    names = [f"item{i}" for i in range(150)]
    relevance = {
        f"query{q}": {name: int(groups[i] == groups[q]) for i, name in enumerate(names)} for q in range(len(query))
    }
    run = {f"query{q}": dict(zip(names, row, strict=True)) for q, row in enumerate(scores)}
    wanted = {"success.1,5,10", "recip_rank", "map", "ndcg_cut.10"}
    judged = pytrec_eval.RelevanceEvaluator(relevance, wanted).evaluate(run)

    ranking = rank(query, gallery, groups, groups)
    ours = {f"success_{k}": ranking.hits(k) for k in (1, 5, 10)}
    ours |= {"recip_rank": ranking.reciprocal_ranks(), "map": ranking.precision, "ndcg_cut_10": ranking.gain}
    for name, values in ours.items():
        expected = torch.tensor([judged[f"query{q}"][name] for q in range(len(query))])
        assert torch.allclose(values, expected.double(), atol=1e-6), name
        assert 0.05 < values.mean() < 0.99  # the comparison could have failed


counts = st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 9))


def ranking_with(*queries: tuple[int, int, int]) -> Ranking:
    above, tied, positives = (torch.tensor(each, dtype=torch.float64) for each in zip(*queries, strict=True))
    return Ranking(above, tied, positives, above, above)


@laws
@given(st.lists(counts, min_size=1, max_size=20), st.integers(1, 80))
def test_hits_are_the_share_of_orders_with_a_hit_and_grow_with_k(queries: list[tuple[int, int, int]], k: int) -> None:
    ranking = ranking_with(*queries)
    expected = [expected_hit(*each, k) for each in queries]
    assert ranking.hits(k).tolist() == pytest.approx(expected, abs=1e-12)
    assert (ranking.hits(k) <= ranking.hits(k + 1) + 1e-12).all()
    assert ranking.hits(10**6).tolist() == [1.0] * len(queries)


@laws
@given(st.lists(counts, min_size=1, max_size=20))
def test_ranks_and_their_reciprocals_follow_from_the_hits(queries: list[tuple[int, int, int]]) -> None:
    """P(rank = k) is the difference of the hits at k and k - 1, which determines both means."""
    ranking = ranking_with(*queries)
    hits = torch.stack([ranking.hits(k) for k in range(62)], 1)
    chances, places = hits.diff(dim=1), torch.arange(1, 62, dtype=torch.float64)
    assert ranking.ranks().tolist() == pytest.approx((chances * places).sum(1).tolist())
    assert ranking.reciprocal_ranks().tolist() == pytest.approx((chances / places).sum(1).tolist())


def test_a_ranking_survives_packing(normal) -> None:
    groups = torch.arange(30) // 3
    ranking = rank(normal(30, 4, seed=1), normal(30, 4, seed=2), groups, groups)
    packed = ranking.packed()
    assert packed.shape == (30, 5)
    assert torch.equal(Ranking.unpacked(packed).packed(), packed)
    assert torch.equal(ranking.select(torch.tensor([4, 2])).packed(), packed[[4, 2]])


def test_without_other_positives_their_metrics_are_unknown(normal) -> None:
    query: Tensor = normal(20, 4, seed=1)
    ranking = rank(query, query, torch.arange(20), torch.arange(20), all_positives=False)
    assert ranking.precision.isnan().all()
    assert ranking.gain.isnan().all()
