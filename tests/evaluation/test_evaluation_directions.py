"""Retrieval in every direction: distinct items, recall against brute force, and bad input."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
import torch
from torch import Tensor

from omnidistill.core.errors import InputError, NotFiniteError
from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.directions import (
    RECALL_AT,
    items_of,
    mean_recall,
    rank_directions,
    rank_heads,
    recall,
    recalls,
)
from oracles import expected_hit


def hit_by_hand(scores: list[float], positive: list[bool], k: int) -> float:
    """The probability of a hit at k, over all orders of tied items."""
    best = max(s for s, p in zip(scores, positive, strict=True) if p)
    above = sum(s > best for s in scores)
    tied = [p for s, p in zip(scores, positive, strict=True) if s == best]
    return expected_hit(above, len(tied) - sum(tied), sum(tied), k)


def three_modalities() -> tuple[dict[str, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(5)
    centre = torch.randn(40, 6, generator=generator)
    names = ("image", "text", "audio")
    noisy = {name: centre + 0.7 * torch.randn(40, 6, generator=generator) for name in names}
    return noisy, torch.arange(40) // 2


def test_renaming_and_reordering_modalities_changes_nothing_but_names() -> None:
    embeddings, groups = three_modalities()
    ranks = rank_directions(embeddings, groups)
    new = {"image": "x", "text": "y", "audio": "z"}
    renamed = rank_directions({new[name]: embeddings[name] for name in ("audio", "image", "text")}, groups)
    assert len(ranks) == len(renamed) == 6
    for (query, gallery), r in ranks.items():
        assert torch.equal(renamed[new[query], new[gallery]].above, r.above)
    assert mean_recall(renamed) == pytest.approx(mean_recall(ranks))


def test_recalls_equal_brute_force() -> None:
    embeddings, groups = three_modalities()
    found = recalls(rank_directions(embeddings, groups))
    for query, gallery in permutations(embeddings, 2):
        scores = (embeddings[query].double() @ embeddings[gallery].double().T).tolist()
        for k in RECALL_AT:
            hits = [hit_by_hand(row, (groups == group).tolist(), k) for row, group in zip(scores, groups, strict=True)]
            assert found[query, gallery][k] == pytest.approx(sum(hits) / 40)
    assert 0.1 < found["text", "image"][1] < 0.9
    expected = {k: sum(each[k] for each in found.values()) / 6 for k in RECALL_AT}
    assert mean_recall(rank_directions(embeddings, groups)) == pytest.approx(expected)


def test_collapsed_heads_score_at_chance() -> None:
    same = torch.full((100, 16), 0.3)
    rankings = rank_directions({"a": same, "b": same.clone()}, torch.arange(100))
    assert mean_recall(rankings) == pytest.approx({1: 0.01, 5: 0.05, 10: 0.1})
    assert all((each.ranks() == 1 + 99 / 2).all() for each in rankings.values())


def test_perfect_classes_score_as_the_audit_computed() -> None:
    """2,000 clips with 309 label texts, one group per clip: a perfect classifier cannot tell clips of a class apart."""
    labels = torch.randint(309, (2000,), generator=torch.Generator().manual_seed(0))
    classes = torch.eye(309)[labels]
    found = recall({"audio": classes, "text": classes.clone()}, torch.arange(2000))
    sizes = torch.bincount(labels)
    for by_cut_off in found.values():
        assert by_cut_off == pytest.approx({k: float(sizes.clamp(max=k).sum()) / 2000 for k in (1, 5, 10)}, abs=1e-9)
        assert by_cut_off == pytest.approx({1: 0.1545, 5: 0.709, 10: 0.984}, abs=6e-4)


def with_copies() -> FeatureSet:
    """Twelve images, of which each stands in three rows with captions of its own; one group per image."""
    draw = torch.Generator().manual_seed(0)
    images, texts = torch.randn(12, 5, generator=draw), torch.randn(36, 4, generator=draw)
    groups = [str(row // 3) for row in range(36)]
    return FeatureSet.from_arrays(
        {"image": images.repeat_interleave(3, 0), "text": texts}, groups=groups, splits=["train"] * 36
    )


def test_copies_count_once_in_distinct_galleries_and_queries(normal: Callable[..., Tensor]) -> None:
    with pytest.warns(UserWarning, match="validation"):
        data = with_copies()
    items = items_of(data)
    rows = {name: items_of(data, "rows")[name].tolist() for name in data.modalities}
    assert rows == {"image": list(range(36)), "text": list(range(36))}
    assert items["text"].tolist() == list(range(36))
    assert items["image"].tolist() == list(range(0, 36, 3))
    heads = {"image": normal(3, 5, seed=1).float(), "text": normal(3, 4, seed=2).float()}
    distinct, every = rank_heads(heads, data), rank_heads(heads, data, gallery="rows")
    assert {pair: len(each) for pair, each in distinct.items()} == {("image", "text"): 12, ("text", "image"): 36}
    assert {len(each) for each in every.values()} == {36}
    # All copies of an image score the same: with them, three times as many items are above the best positive.
    assert torch.equal(3 * distinct["text", "image"].above, every["text", "image"].above)
    assert (distinct["text", "image"].positives == 1).all()
    assert torch.equal(distinct["image", "text"].above, every["image", "text"].above[::3])


def test_equal_rows_of_different_groups_are_different_items() -> None:
    same = torch.ones(4, 3)
    groups = ["x", "x", "y", "z"]
    found = recall({"a": same, "b": torch.eye(4)[:, :3] + 0.1}, groups, at=(1, 3))
    assert found["b", "a"] == pytest.approx({1: 1 / 3, 3: 1.0})  # three items: x once, y, z
    assert recall({"a": same, "b": same}, groups, (1,), "rows")["a", "b"][1] == pytest.approx((2 + 2 + 1 + 1) / 16)


def test_one_item_and_cut_offs_beyond_the_gallery() -> None:
    ranks = rank_directions({"a": torch.tensor([[-1.0]]), "b": torch.tensor([[2.0]])}, torch.tensor([7]))
    assert recalls(ranks, at=(1, 50)) == {("a", "b"): {1: 1.0, 50: 1.0}, ("b", "a"): {1: 1.0, 50: 1.0}}
    with pytest.raises(
        InputError, match=r"at=\(1, 50\): the gallery of 'a' has only 1 items; use cut-offs of at most 1"
    ):
        recall({"a": torch.tensor([[-1.0]]), "b": torch.tensor([[2.0]])}, ["x"], at=(1, 50))


def test_not_finite_embeddings_are_refused_by_modality() -> None:
    embeddings, groups = three_modalities()
    embeddings["audio"][9, 2] = float("nan")
    with pytest.raises(NotFiniteError, match=r"'audio'.*row 9"):
        rank_directions(embeddings, groups)


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        ({"a": (3, 2)}, r"at least two modalities, but the embeddings have \['a'\]"),
        ({"a": (3, 2), "b": (4, 2)}, r"'b' have shape \(4, 2\), expected \(3, 2\)"),
        ({"a": (3, 2), "b": (3, 5)}, r"'b' have shape \(3, 5\), expected \(3, 2\)"),
    ],
)
def test_modalities_that_do_not_fit_are_refused(shapes: dict[str, tuple[int, int]], found: str) -> None:
    with pytest.raises(InputError, match=found):
        rank_directions({name: torch.ones(shape) for name, shape in shapes.items()}, torch.arange(3))


def test_recall_takes_arrays_and_groups_of_any_type(normal: Callable[..., Tensor]) -> None:
    embeddings = {"a": normal(6, 4, seed=1), "b": normal(6, 4, seed=2), "c": normal(6, 4, seed=3)}
    labels = ["x", "x", "y", "z", "z", "w"]
    codes = torch.tensor([0, 0, 1, 2, 2, 3])
    expected = recalls(rank_directions(embeddings, codes), (1, 3))
    arrays = {name: x.numpy() for name, x in embeddings.items()}
    for rows, groups in ((embeddings, labels), (arrays, tuple(labels)), (embeddings, codes), (arrays, codes.numpy())):
        assert recall(rows, groups, at=(1, 3)) == expected
    assert set(recall({name: torch.eye(12) for name in "ac"}, range(12))["a", "c"]) == {1, 5, 10}


@pytest.mark.parametrize(
    ("embeddings", "groups", "at", "message"),
    [
        ({"a": [[1.0]], "b": [[1.0]]}, ["x"], (0,), r"at=\(0,\): every cut-off K must be a positive integer"),
        ({"a": [[1.0]], "b": [1.0]}, ["x"], (1,), r"embeddings of 'b': shape is \(1,\)"),
        ({"a": [[1.0]], "b": [[1.0]]}, ["x", "y"], (1,), r"embeddings of 'a' have shape \(1, 1\), expected \(2, 1\)"),
        ({"a": [[1.0]]}, ["x"], (1,), "at least two modalities"),
    ],
)
def test_recall_of_what_does_not_fit_is_refused(embeddings: Any, groups: Any, at: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        recall(embeddings, groups, at)
