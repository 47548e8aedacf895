"""Recall after embeddings are mapped from a source space to a target space.

Every item has two vectors: the mapped source vector and the target vector. In each search task, one of them is a query
and the other is in the gallery:

    queries    the mapped source vector is the query         (old queries in the new index)
    gallery    the mapped source vector is in the gallery    (new queries in the mapped old index)
    mixed      for a random half of the items, the mapped source vector is in the gallery;
               for the other half, it is the query           (half of the index is mapped)

A query is a hit at K if the gallery vector of the same item is among the first K of all gallery vectors; there are no
other positives. Similarity is the cosine of uncentred vectors, as in an index. Tied items are in random order, so
recall is an expected value (`evaluation.ranking`).

Shapes: n items, q width of the target space, b queries per chunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from omnidistill.core.streams import Streams
from omnidistill.data.embedding_pairs import Pairs
from omnidistill.evaluation.directions import RECALL_AT
from omnidistill.evaluation.ranking import Ranking
from omnidistill.models.affine_map import AffineMap

Task = Literal["queries", "gallery", "mixed"]
"""A search task; the module docstring defines the three tasks."""

Recalls = dict[Task, dict[int, float]]
"""{task: {K: recall at K, as a fraction}}."""

_CHUNK_QUERIES = 1024


def recalls_of(mapping: AffineMap, pairs: Pairs, seed: int = 0) -> Recalls:
    """Return the recall in every search task for a map from `pairs.old` to `pairs.new`.

    Args:
        mapping: the map.
        pairs: held-out pairs. For a map from new to old, pass `pairs.reversed()`.
        seed: seed for choosing the items whose mapped vectors are in the gallery of the task "mixed".
    """
    mapped, target = torch.cat([mapping.apply(x) for x in torch.split(pairs.old, _CHUNK_QUERIES)]), pairs.new
    held = mapped_half(len(pairs), seed).to(target.device).unsqueeze(1)
    return {
        "queries": recall_of_items(mapped, target),
        "gallery": recall_of_items(target, mapped),
        "mixed": recall_of_items(torch.where(held, target, mapped), torch.where(held, mapped, target)),
    }


def recall_of_items(queries: Float[Tensor, "n q"], gallery: Float[Tensor, "n q"]) -> dict[int, float]:
    """Return {K: recall at K} for retrieval by cosine, where gallery item i is the only positive of query i."""
    items = torch.nn.functional.normalize(gallery, dim=1)
    parts = []
    for start in range(0, len(queries), _CHUNK_QUERIES):
        scores = torch.nn.functional.normalize(queries[start : start + _CHUNK_QUERIES], dim=1) @ items.mT
        own = scores.diagonal(start).unsqueeze(1)
        above, tied = (scores > own).sum(1).cpu().double(), (scores == own).sum(1).cpu().double() - 1
        ones = torch.ones_like(above)
        parts.append(Ranking(above, tied, ones, ones, ones))
    ranking = Ranking.joined(parts)
    return {k: float(ranking.hits(k).mean()) for k in RECALL_AT}


def mean_recall(recalls: Mapping[Task, Mapping[int, float]]) -> float:
    """Return the mean recall over search tasks and cut-offs K, the score by which maps are compared on validation."""
    values = [value for each in recalls.values() for value in each.values()]
    return sum(values) / len(values)


def mapped_half(num_items: int, seed: int) -> Bool[Tensor, " n"]:
    """Choose a random half of the items for the search task "mixed", and return a mask that is True for this half.

    In this task, the gallery contains one vector per item. For the chosen half, it is the source vector, mapped to the
    target space. For the other half, it is the target vector.
    """
    order = torch.randperm(num_items, generator=Streams(seed)["migration/mixed"], device="cpu")
    return order < num_items // 2
