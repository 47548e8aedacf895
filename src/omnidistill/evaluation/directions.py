"""Retrieval in all M (M - 1) directions between M modalities, and recall averaged over queries and directions.

A dataset with several captions per image repeats the image in several rows. There are two ways to count such copies:

    "distinct"    copies are one query and one gallery item, as in the protocols of Flickr30k and COCO
    "rows"        every row is an item; recall is lower, because copies take several of the first K places

Rows are copies in a modality if they have the same group and the same features.

Shapes: N rows shared by all modalities, d embedding width, K cut-offs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.data.arrays import Array, as_rows
from omnidistill.data.distinct_rows import distinct_rows
from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.ranking import Ranking
from omnidistill.evaluation.retrieval import check_rows, rank
from omnidistill.models.heads import Heads, embed

RECALL_AT = (1, 5, 10)
"""The cut-offs K of the usual R@K table."""

Direction = tuple[str, str]
"""(query modality, gallery modality)."""
Rankings = dict[Direction, Ranking]
"""The ranking for each direction."""
Items = Mapping[str, Int[Tensor, " _"]]
"""Indices of the rows that are queries and gallery items, for each modality."""
Gallery = Literal["distinct", "rows"]
"""Which rows are items: one row per distinct item ("distinct"), or every row ("rows")."""


def items_of(data: FeatureSet, gallery: Gallery = "distinct") -> Items:
    """Return the indices of the rows that are queries and gallery items, for each modality."""
    if gallery == "distinct":
        return data.distinct_rows
    return dict.fromkeys(data.modalities, torch.arange(len(data), device="cpu"))


def rank_directions(
    embeddings: Mapping[str, Float[Tensor, "_ _"]],
    groups: Int[Tensor, " N"],
    items: Items | None = None,
    *,
    all_positives: bool = True,
) -> Rankings:
    """Rank the positives of the queries in every direction, i.e. from each modality to every other modality.

    Args:
        embeddings: {modality: N x d}.
        groups: the group of each row. Row i has the same group in every modality.
        items: indices of the rows that are queries and gallery items, for each modality; None for all rows.
        all_positives: whether to rank all positives of a query or only the best one (see `retrieval.rank`).

    Raises:
        InputError: there are fewer than two modalities, or shapes differ.
        NotFiniteError: an embedding contains NaN or Inf; the message names the modality and the row.
    """
    if len(embeddings) < 2:
        raise InputError(
            f"retrieval needs at least two modalities, but the embeddings have {sorted(embeddings)}; add another "
            "modality"
        )
    width = next(iter(embeddings.values())).shape[-1]
    for name, embedding in embeddings.items():
        if embedding.shape != (len(groups), width):
            raise InputError(
                f"embeddings of {name!r} have shape {tuple(embedding.shape)}, expected ({len(groups)}, {width}); "
                "every modality needs one row per group label, and all modalities need the same width"
            )
        check_rows(embedding, f"embeddings of modality {name!r}")
    codes = groups.cpu()
    chosen = {}
    for name, embedding in embeddings.items():
        rows = torch.arange(len(codes), device="cpu") if items is None else items[name]
        chosen[name] = embedding[rows.to(embedding.device)], codes[rows]
    return {
        (query, gallery): rank(chosen[query][0], chosen[gallery][0], chosen[query][1], chosen[gallery][1],
                               all_positives=all_positives)
        for query, gallery in permutations(embeddings, 2)
    }  # fmt: skip


def rank_heads(
    heads: Heads,
    data: FeatureSet,
    bias: Mapping[str, Float[Tensor, " _"]] | None = None,
    gallery: Gallery = "distinct",
    *,
    all_positives: bool = False,
) -> Rankings:
    """Rank the positives of all queries in a dataset, using the embeddings that the heads compute from the features.

    Raises:
        NotFiniteError: an embedding contains NaN or Inf.
    """
    embeddings, items = embed(heads, data.features, bias), items_of(data, gallery)
    return rank_directions(embeddings, data.group_codes, items, all_positives=all_positives)


def recall(
    embeddings: Mapping[str, Array],
    groups: Iterable[object],
    at: Sequence[int] = RECALL_AT,
    gallery: Gallery = "distinct",
) -> dict[Direction, dict[int, float]]:
    """Return recall@K of every direction, {(query, gallery): {K: recall}}, in [0, 1].

    A query is a hit at K if one of its positives is among the K gallery items with the largest similarity. Tied items
    are in random order, and the result is the expected recall.

    Args:
        embeddings: {modality: N x d}; compared by inner product, so normalise them first for cosine similarity.
        groups: the group of each row, of any type. Row i has the same group in every modality; rows of one group are
            positives of each other.
        at: the cut-offs K.
        gallery: with "distinct", equal embeddings in a group count as one query and one gallery item; with "rows",
            every row is a query and a gallery item.

    Raises:
        InputError: `embeddings` is not a mapping with at least two modalities, shapes differ, or a cut-off is below 1
            or exceeds the size of a gallery.
        NotFiniteError: an embedding contains NaN or Inf; the message names the modality and the row.
    """
    if not isinstance(embeddings, Mapping):
        raise InputError(
            f"embeddings: found a {type(embeddings).__name__}; pass a dict that maps at least two modalities "
            "to arrays of shape (rows, width)"
        )
    if any(not isinstance(k, int) or k < 1 for k in at):
        raise InputError(f"at={tuple(at)}: every cut-off K must be a positive integer")
    tensors = {str(name): as_rows(f"embeddings of {name!r}", x) for name, x in embeddings.items()}
    labels = groups.tolist() if isinstance(groups, Tensor | np.ndarray) else list(groups)
    codes = {label: code for code, label in enumerate(dict.fromkeys(labels))}
    numbers = torch.tensor([codes[label] for label in labels], dtype=torch.int64, device="cpu")
    items = None
    if gallery == "distinct" and all(len(x) == len(numbers) for x in tensors.values()):
        items = {name: distinct_rows(x, numbers) for name, x in tensors.items()}
    rankings = rank_directions(tensors, numbers, items, all_positives=False)
    for name, x in tensors.items():
        size = len(x) if items is None else len(items[name])
        if max(at, default=0) > size:
            raise InputError(
                f"at={tuple(at)}: the gallery of {name!r} has only {size} items; use cut-offs of at most {size}"
            )
    return recalls(rankings, at)


def recalls(rankings: Mapping[Direction, Ranking], at: Sequence[int] = RECALL_AT) -> dict[Direction, dict[int, float]]:
    """Return recall@K for each direction: the expected fraction of queries with a hit at K, in [0, 1]."""
    return {direction: {k: float(ranking.hits(k).mean()) for k in at} for direction, ranking in rankings.items()}


def mean_recall(rankings: Mapping[Direction, Ranking], at: Sequence[int] = RECALL_AT) -> dict[int, float]:
    """Return recall@K averaged over directions, in [0, 1], for each K."""
    by_direction = recalls(rankings, at).values()
    return {k: sum(each[k] for each in by_direction) / len(by_direction) for k in at}
