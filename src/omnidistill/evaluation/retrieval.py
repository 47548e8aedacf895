"""Exact cross-modal retrieval: the rank of the first positive of every query, and recall from it.

A gallery item is a positive of a query when both belong to the same group. Tie rule: let s* be the best score among the
positives of a query, g the number of gallery items that score above s*, and t_neg, t_pos the numbers of negatives and
positives that score exactly s*. The rank is what breaking the tie uniformly at random gives on average,

    r = 1 + g + t_neg / (t_pos + 1),        hit@K = [r <= K],

so the order of rows never helps or harms, and heads that map everything to one point score at chance or below. Equal
gallery rows do tie, although a matrix product may round them differently.

Shapes: Q queries, G gallery items, N rows shared by all modalities, d embedding width, K cut-offs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.errors import InputError, NotFiniteError

RECALL_AT = (1, 5, 10)
"""The cut-offs K of the usual R@K table."""

Direction = tuple[str, str]
"""(query modality, gallery modality)."""

_BYTES_PER_POSITIVE = 32  # in the padded list: row number, score and flags, with their temporaries
_SLICES = 8  # a chunk of scores is counted in so many parts
_EXACT_FLOAT32_COUNT = 2**24  # float32 counts every integer up to here


def first_positive_ranks(
    query: Float[Tensor, "Q d"],
    gallery: Float[Tensor, "G d"],
    query_groups: Int[Tensor, " Q"],
    gallery_groups: Int[Tensor, " G"],
    chunk_bytes: int = 2**26,
) -> Float[Tensor, " Q"]:
    """Rank (1 is best) of the first positive of each query among all gallery items, by inner product and the tie rule.

    Embeddings are compared as given (normalise them for cosine), in their own precision but never below float32, on
    the device they are on; the ranks come back as float64 on the CPU. Queries are taken in chunks whose scores and
    positives fit in `chunk_bytes` (at least one query at a time); the chunk size changes nothing but rounding.

    Raises `NotFiniteError` for NaN, Inf or an overflowing product, `InputError` for a query without a positive.
    """
    _check_shapes(query, gallery, query_groups, gallery_groups)
    dtype = torch.promote_types(torch.promote_types(query.dtype, gallery.dtype), torch.float32)
    query, gallery = query.detach().to(dtype), gallery.detach().to(dtype)
    _check_finite(query, gallery)
    members, start, count = _positives(query_groups.cpu(), gallery_groups.cpu())
    twins, originals = _twins(gallery)

    by_count = count.argsort(descending=True, stable=True)  # so that the padded lists of a chunk are about equally long
    widths = count[by_count]
    numbers_per_query = len(gallery) + len(gallery) // _SLICES + len(twins) + query.shape[1]
    spans = list(_spans(widths, query.element_size() * numbers_per_query, chunk_bytes))
    scores = query.new_empty(max(stop - first for first, stop in spans), len(gallery))

    ranks = torch.empty(len(query), dtype=torch.float64)
    for first, stop in spans:
        chosen = by_count[first:stop]
        slot = torch.arange(int(widths[first]))
        index = members[(start[chosen, None] + slot).clamp_(max=len(gallery) - 1)].to(query.device)
        padding = (slot >= count[chosen, None]).to(query.device)

        score = torch.mm(query[chosen.to(query.device)], gallery.T, out=scores[: stop - first])
        if len(twins):
            score.index_copy_(1, twins, score[:, originals])
        positive = score.gather(1, index).masked_fill_(padding, -torch.inf)
        best = positive.amax(1, keepdim=True)
        tied_positives = (positive == best).sum(1).cpu().double()
        higher, tied = _higher_and_tied(score, best)
        ranks[chosen] = 1 + higher + (tied - tied_positives) / (tied_positives + 1)
    return ranks


def ranks_by_direction(
    embeddings: Mapping[str, Float[Tensor, "_ _"]], groups: Int[Tensor, " N"]
) -> dict[Direction, Float[Tensor, " N"]]:
    """Ranks of the first positive in all M(M-1) directions; row i of every modality belongs to group `groups[i]`.

    Raises `InputError` for fewer than two modalities or unequal shapes, `NotFiniteError` naming modality and row.
    """
    if len(embeddings) < 2:
        raise InputError(f"retrieval needs at least two modalities, found {sorted(embeddings)}: give one more")
    width = next(iter(embeddings.values())).shape[-1]
    for name, embedding in embeddings.items():
        if embedding.shape != (len(groups), width):
            raise InputError(
                f"embeddings of {name!r} have shape {tuple(embedding.shape)}, expected ({len(groups)}, {width}): "
                "every modality needs one row per group label and the same width"
            )
        _check_rows(embedding, f"embeddings of modality {name!r}")
    return {
        (query, gallery): first_positive_ranks(embeddings[query], embeddings[gallery], groups, groups)
        for query, gallery in permutations(embeddings, 2)
    }


def recalls(
    ranks: Mapping[Direction, Float[Tensor, " N"]], at: Sequence[int] = RECALL_AT
) -> dict[Direction, dict[int, float]]:
    """Recall@K of each direction: the fraction in [0, 1] of queries whose rank is at most K."""
    return {direction: {k: float((r <= k).double().mean()) for k in at} for direction, r in ranks.items()}


def mean_recall(ranks: Mapping[Direction, Float[Tensor, " N"]], at: Sequence[int] = RECALL_AT) -> dict[int, float]:
    """Recall@K averaged over the directions, each in [0, 1]."""
    return dict(zip(at, hits(ranks, at).mean(0).tolist(), strict=True))


def hits(ranks: Mapping[Direction, Float[Tensor, " N"]], at: Sequence[int] = RECALL_AT) -> Float[Tensor, "N K"]:
    """For each row as query the share in [0, 1] of directions with a hit at K: what the bootstrap resamples."""
    by_direction = torch.stack(list(ranks.values()))
    return torch.stack([(by_direction <= k).double().mean(0) for k in at], dim=1)


def _positives(
    query_groups: Int[Tensor, " Q"], gallery_groups: Int[Tensor, " G"]
) -> tuple[Int[Tensor, " G"], Int[Tensor, " Q"], Int[Tensor, " Q"]]:
    """Gallery rows sorted by group, and where in that list the positives of each query start and how many they are."""
    labels, counts = torch.unique(gallery_groups, return_counts=True)
    at = torch.searchsorted(labels, query_groups.to(labels.dtype)).clamp_(max=len(labels) - 1)
    lost = labels[at] != query_groups
    if lost.any():
        row = int(lost.nonzero()[0])
        raise InputError(
            f"query row {row} (group {int(query_groups[row])}) has no positive among the "
            f"{len(gallery_groups)} gallery items: every query needs an item of its own group"
        )
    return gallery_groups.argsort(stable=True), (counts.cumsum(0) - counts)[at], counts[at]


def _twins(gallery: Float[Tensor, "G d"]) -> tuple[Int[Tensor, " twins"], Int[Tensor, " twins"]]:
    """Gallery rows that equal an earlier row, and for each the first such row."""
    row = torch.arange(len(gallery), device=gallery.device)
    distinct, code = torch.unique(gallery, dim=0, return_inverse=True)
    first = row.new_full((len(distinct),), len(gallery)).scatter_reduce_(0, code, row, "amin")[code]
    twins = (first != row).nonzero().flatten()
    return twins, first[twins]


def _spans(widths: Int[Tensor, " Q"], bytes_per_query: int, chunk_bytes: int) -> Iterator[tuple[int, int]]:
    """Ranges of queries that fit in `chunk_bytes`; `widths`, their positives, descend, so the first is the widest."""
    first = 0
    while first < len(widths):
        rows = max(1, chunk_bytes // (bytes_per_query + int(widths[first]) * _BYTES_PER_POSITIVE))
        yield first, min(first + rows, len(widths))
        first += rows


def _higher_and_tied(
    score: Float[Tensor, "Q G"], best: Float[Tensor, "Q 1"]
) -> tuple[Float[Tensor, " Q"], Float[Tensor, " Q"]]:
    """How many of each row's scores exceed and how many equal the best positive's, a cache-sized slice at a time.

    The comparisons are written as 0 and 1 in the dtype of the scores: their sum needs no converted copy.
    """
    exact = None if score.shape[1] <= _EXACT_FLOAT32_COUNT else torch.float64
    rows = -(-len(score) // _SLICES)
    flags = torch.empty_like(score[:rows])
    higher, reaching = [], []
    for first in range(0, len(score), rows):
        part, bar = score[first : first + rows], best[first : first + rows]
        higher.append(torch.gt(part, bar, out=flags[: len(part)]).sum(1, dtype=exact))
        reaching.append(torch.ge(part, bar, out=flags[: len(part)]).sum(1, dtype=exact))
    above = torch.cat(higher).cpu().double()
    return above, torch.cat(reaching).cpu().double() - above


def _check_shapes(query: Tensor, gallery: Tensor, query_groups: Tensor, gallery_groups: Tensor) -> None:
    if query.shape[1] != gallery.shape[1]:
        raise InputError(f"query rows are {query.shape[1]} wide and gallery rows {gallery.shape[1]}: widths must agree")
    for name, rows, groups in (("query", query, query_groups), ("gallery", gallery, gallery_groups)):
        if len(rows) == 0:
            raise InputError(f"{name} has no rows: give at least one")
        if len(rows) != len(groups):
            raise InputError(f"{name} has {len(rows)} rows and {len(groups)} group labels: give one label per row")


def _check_finite(query: Float[Tensor, "Q d"], gallery: Float[Tensor, "G d"]) -> None:
    """One pass over the norms: by Cauchy-Schwarz no score overflows when the product of the largest two does not."""
    largest = [torch.linalg.vector_norm(rows, dim=1).amax() for rows in (query, gallery)]
    if torch.isfinite(largest[0] * largest[1]):
        return
    _check_rows(query, "query embeddings")
    _check_rows(gallery, "gallery embeddings")
    raise NotFiniteError("inner products of query and gallery embeddings overflow: normalise the rows")


def _check_rows(embeddings: Float[Tensor, "N d"], what: str) -> None:
    bad = ~torch.isfinite(embeddings).all(1)
    if bad.any():
        raise NotFiniteError(f"{what} hold NaN or Inf, first in row {int(bad.nonzero()[0])}: ranks would mean nothing")
