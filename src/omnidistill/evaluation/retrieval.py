"""Exact cross-modal retrieval: the rank of the first positive of every query, and the recall computed from it.

A gallery item is a positive of a query if both belong to the same group. Tie rule: let s* be the best score among the
positives of a query, g the number of gallery items that score above s*, and t_neg, t_pos the numbers of negatives and
positives that score exactly s*. The rank is the expected rank under random tie-breaking,

    r = 1 + g + t_neg / (t_pos + 1),        hit@K = [r <= K],

so the order of rows has no influence, and heads that map everything to one point score at chance or below. Equal
gallery rows are ties, even if a matrix product rounds their scores differently.

Shapes: Q queries, G gallery items, N rows shared by all modalities, d embedding width, K cut-offs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import permutations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.errors import InputError, NotFiniteError
from omnidistill.data.arrays import Array, as_rows

RECALL_AT = (1, 5, 10)
"""The cut-offs K of the usual R@K table."""

Direction = tuple[str, str]
"""(query modality, gallery modality)."""

_BYTES_PER_POSITIVE = 32  # in the padded list: row number, score and flags, with their temporaries
_SLICES = 8  # number of parts in which the scores of a chunk are counted
_EXACT_FLOAT32_COUNT = 2**24  # float32 represents every integer up to this one


def first_positive_ranks(
    query: Float[Tensor, "Q d"],
    gallery: Float[Tensor, "G d"],
    query_groups: Int[Tensor, " Q"],
    gallery_groups: Int[Tensor, " G"],
    chunk_bytes: int = 2**26,
) -> Float[Tensor, " Q"]:
    """Return the rank (1 is best) of the first positive of each query, by inner product and the tie rule.

    Embeddings are not normalised (normalise them first for cosine). Scores are computed on the device of the embeddings
    in their precision, but at least in float32. The ranks are float64 on the CPU.

    Args:
        query: embeddings of the queries.
        gallery: embeddings of the gallery items.
        query_groups: group of each query.
        gallery_groups: group of each gallery item.
        chunk_bytes: memory for scores and positives. Queries are processed in chunks that fit in it, at least one at a
            time; the size only affects rounding.

    Raises:
        NotFiniteError: embeddings contain NaN or Inf, or a product overflows.
        InputError: a query has no positive, or shapes do not match.
    """
    _check_shapes(query, gallery, query_groups, gallery_groups)
    dtype = torch.promote_types(torch.promote_types(query.dtype, gallery.dtype), torch.float32)
    query, gallery = query.detach().to(dtype), gallery.detach().to(dtype)
    _check_finite(query, gallery)
    members, start, count = _positives(query_groups.cpu(), gallery_groups.cpu())
    twins, originals = _twins(gallery)

    by_count = count.argsort(descending=True, stable=True)  # the lists of a chunk have similar lengths: little padding
    widths = count[by_count]
    numbers_per_query = len(gallery) + len(gallery) // _SLICES + len(twins) + query.shape[1]
    spans = list(_spans(widths, query.element_size() * numbers_per_query, chunk_bytes))
    scores = query.new_empty(max(stop - first for first, stop in spans), len(gallery))

    ranks = torch.empty(len(query), dtype=torch.float64, device="cpu")
    for first, stop in spans:
        chosen = by_count[first:stop]
        slot = torch.arange(int(widths[first]), device="cpu")
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
    """Return the ranks of the first positive in all M (M - 1) directions.

    Args:
        embeddings: {modality: N x d}.
        groups: the group of each row. Row i has the same group in every modality.

    Raises:
        InputError: there are fewer than two modalities, or shapes differ.
        NotFiniteError: an embedding contains NaN or Inf; names modality and row.
    """
    if len(embeddings) < 2:
        raise InputError(f"retrieval needs at least two modalities, found {sorted(embeddings)}; add another one")
    width = next(iter(embeddings.values())).shape[-1]
    for name, embedding in embeddings.items():
        if embedding.shape != (len(groups), width):
            raise InputError(
                f"embeddings of {name!r} have shape {tuple(embedding.shape)}, expected ({len(groups)}, {width}); "
                "every modality needs one row per group label and the same width"
            )
        _check_rows(embedding, f"embeddings of modality {name!r}")
    return {
        (query, gallery): first_positive_ranks(embeddings[query], embeddings[gallery], groups, groups)
        for query, gallery in permutations(embeddings, 2)
    }


def recall(
    embeddings: Mapping[str, Array], groups: Iterable[object], at: Sequence[int] = RECALL_AT
) -> dict[Direction, dict[int, float]]:
    """Return recall@K of every direction, {(query, gallery): {K: recall}}, in [0, 1].

    Args:
        embeddings: {modality: N x d}; they are compared by inner product, so normalise them for cosines.
        groups: the group of each row, of any type. Row i has the same group in every modality; rows of one group are
            positives of each other.
        at: the cut-offs K.

    Raises:
        InputError: embeddings is no mapping of at least two modalities, shapes differ, or a cut-off is below 1.
        NotFiniteError: an embedding contains NaN or Inf; names modality and row.
    """
    if not isinstance(embeddings, Mapping):
        raise InputError(
            f"embeddings: found a {type(embeddings).__name__}; give a dict {{modality: rows x width}} of at least two "
            "modalities"
        )
    if any(not isinstance(k, int) or k < 1 for k in at):
        raise InputError(f"at={tuple(at)}: cut-offs are whole numbers of at least 1")
    tensors = {str(name): as_rows(f"embeddings of {name!r}", x) for name, x in embeddings.items()}
    labels = groups.tolist() if isinstance(groups, Tensor | np.ndarray) else list(groups)
    codes = {label: code for code, label in enumerate(dict.fromkeys(labels))}
    numbers = torch.tensor([codes[label] for label in labels], dtype=torch.int64, device="cpu")
    return recalls(ranks_by_direction(tensors, numbers), at)


def recalls(
    ranks: Mapping[Direction, Float[Tensor, " N"]], at: Sequence[int] = RECALL_AT
) -> dict[Direction, dict[int, float]]:
    """Return recall@K of each direction: the fraction in [0, 1] of queries whose rank is at most K."""
    return {direction: {k: float((r <= k).double().mean()) for k in at} for direction, r in ranks.items()}


def mean_recall(ranks: Mapping[Direction, Float[Tensor, " N"]], at: Sequence[int] = RECALL_AT) -> dict[int, float]:
    """Return {K: recall@K averaged over directions}, in [0, 1]."""
    return dict(zip(at, hits(ranks, at).mean(0).tolist(), strict=True))


def hits(ranks: Mapping[Direction, Float[Tensor, " N"]], at: Sequence[int] = RECALL_AT) -> Float[Tensor, "N K"]:
    """Return for each query the share in [0, 1] of directions with a hit at K. The bootstrap resamples these values."""
    by_direction = torch.stack(list(ranks.values()))
    return torch.stack([(by_direction <= k).double().mean(0) for k in at], dim=1)


def _positives(
    query_groups: Int[Tensor, " Q"], gallery_groups: Int[Tensor, " G"]
) -> tuple[Int[Tensor, " G"], Int[Tensor, " Q"], Int[Tensor, " Q"]]:
    """Return gallery rows sorted by group, and for each query the start and number of its positives in that list."""
    labels, counts = torch.unique(gallery_groups, return_counts=True)
    at = torch.searchsorted(labels, query_groups.to(labels.dtype)).clamp_(max=len(labels) - 1)
    unmatched = labels[at] != query_groups
    if unmatched.any():
        row = int(unmatched.nonzero()[0])
        raise InputError(
            f"query row {row} (group {int(query_groups[row])}) has no positive among the "
            f"{len(gallery_groups)} gallery items; every query needs an item of its own group"
        )
    return gallery_groups.argsort(stable=True), (counts.cumsum(0) - counts)[at], counts[at]


def _twins(gallery: Float[Tensor, "G d"]) -> tuple[Int[Tensor, " twins"], Int[Tensor, " twins"]]:
    """Return the gallery rows that equal an earlier row, and the first equal row of each."""
    row = torch.arange(len(gallery), device=gallery.device)
    distinct, code = torch.unique(gallery, dim=0, return_inverse=True)
    first = row.new_full((len(distinct),), len(gallery)).scatter_reduce_(0, code, row, "amin")[code]
    twins = (first != row).nonzero().flatten()
    return twins, first[twins]


def _spans(widths: Int[Tensor, " Q"], bytes_per_query: int, chunk_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of queries that fit in `chunk_bytes`. widths: their numbers of positives, descending."""
    first = 0
    while first < len(widths):
        rows = max(1, chunk_bytes // (bytes_per_query + int(widths[first]) * _BYTES_PER_POSITIVE))
        yield first, min(first + rows, len(widths))
        first += rows


def _higher_and_tied(
    score: Float[Tensor, "Q G"], best: Float[Tensor, "Q 1"]
) -> tuple[Float[Tensor, " Q"], Float[Tensor, " Q"]]:
    """Return how many scores of each row exceed the score of its best positive, and how many equal it.

    Works on slices that fit in the cache. Comparisons are written as 0 and 1 in the dtype of the scores, so summing
    them needs no converted copy.
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
        raise InputError(
            f"query rows have width {query.shape[1]}, gallery rows {gallery.shape[1]}; widths must be equal"
        )
    for name, rows, groups in (("query", query, query_groups), ("gallery", gallery, gallery_groups)):
        if len(rows) == 0:
            raise InputError(f"{name} has no rows; pass at least one")
        if len(rows) != len(groups):
            raise InputError(f"{name} has {len(rows)} rows and {len(groups)} group labels; pass one label per row")


def _check_finite(query: Float[Tensor, "Q d"], gallery: Float[Tensor, "G d"]) -> None:
    """Check the norms only: by Cauchy-Schwarz no score overflows if the product of the two largest norms does not."""
    largest = [torch.linalg.vector_norm(rows, dim=1).amax() for rows in (query, gallery)]
    if torch.isfinite(largest[0] * largest[1]):
        return
    _check_rows(query, "query embeddings")
    _check_rows(gallery, "gallery embeddings")
    raise NotFiniteError("inner products of query and gallery embeddings overflow; normalise the rows")


def _check_rows(embeddings: Float[Tensor, "N d"], what: str) -> None:
    bad = ~torch.isfinite(embeddings).all(1)
    if bad.any():
        raise NotFiniteError(f"{what} contain NaN or Inf, first in row {int(bad.nonzero()[0])}; ranks are undefined")
