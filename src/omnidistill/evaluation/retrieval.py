"""Exact cross-modal retrieval: the ranks of each query's positives among all gallery items.

A gallery item is a positive of a query if both belong to the same group. Items are sorted by inner product. Items with
equal scores are tied. Identical gallery rows are tied too, even if a matrix product rounds their scores differently.

For each positive, the functions count the items with a higher score and the items that are tied with it. From these
counts, `Ranking` computes the expected value of each metric if ties are broken at random. The order of rows therefore
has no influence, and heads that map all inputs to the same point score at chance level.

Shapes: Q queries, G gallery items, d embedding width, L positives per query, B queries in a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.errors import InputError, NotFiniteError
from omnidistill.evaluation.ranking import Ranking, precision_and_gain

_CHUNK_BYTES = 2**26  # memory for the scores and positives of the queries in one chunk
_BYTES_PER_POSITIVE = 384  # memory per entry of the padded lists: row index, score and counts, including temporaries
_SLICES = 8  # number of parts in which the scores of a chunk are counted
_SMALL = 2**14  # fewer scores fit in the cache and are counted in one part
_FEW = 8  # up to this many positives, comparing all scores with each of them is the fastest way to count
_EXACT_FLOAT32_COUNT = 2**24  # float32 represents every integer up to this value


def rank(
    query: Float[Tensor, "Q d"],
    gallery: Float[Tensor, "G d"],
    query_groups: Int[Tensor, " Q"],
    gallery_groups: Int[Tensor, " G"],
    *,
    all_positives: bool = True,
) -> Ranking:
    """Rank the positives of each query among all gallery items, by inner product.

    Embeddings are used unchanged; normalise them first for cosine similarity. Scores are computed on the device and in
    the precision of the embeddings, but at least in float32.

    Args:
        query: embeddings of the queries.
        gallery: embeddings of the gallery items.
        query_groups: group of each query.
        gallery_groups: group of each gallery item.
        all_positives: whether to rank all positives of a query, which average precision and nDCG require. Otherwise
            only the best positive is ranked, which is faster and sufficient for recall and the rank of the first
            positive.

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

    by_count = count.argsort(descending=True, stable=True)  # similar lengths within a chunk need little padding
    widths = count[by_count]
    numbers_per_query = len(gallery) + len(gallery) // _SLICES + len(twins) + query.shape[1]
    spans = list(_spans(widths, query.element_size() * numbers_per_query))
    scores = query.new_empty(max(stop - first for first, stop in spans), len(gallery))

    parts = []
    for first, stop in spans:
        chosen = by_count[first:stop]
        slot = torch.arange(int(widths[first]), device="cpu")
        index = members[(start[chosen, None] + slot).clamp_(max=len(gallery) - 1)].to(query.device)
        padding = (slot >= count[chosen, None]).to(query.device)

        score = torch.mm(query[chosen.to(query.device)], gallery.T, out=scores[: stop - first])
        if len(twins):
            score.index_copy_(1, twins, score[:, originals])
        positive = score.gather(1, index).masked_fill_(padding, -torch.inf)
        parts.append(_rank_chunk(score, positive.sort(1, descending=True).values, all_positives))
    ranking = Ranking.joined(parts)
    return ranking if widths[0] == widths[-1] else ranking.select(by_count.argsort())


def _rank_chunk(score: Float[Tensor, "B G"], positive: Float[Tensor, "B L"], all_positives: bool) -> Ranking:
    """Return the ranking for a chunk of queries.

    `positive` contains the scores of each query's positives, in descending order and padded with -inf.
    """
    best = positive[:, :1]
    tied_positives = (positive == best).sum(1).cpu().double()
    single = not all_positives or positive.shape[1] == 1
    above, tied = _above_and_tied(score, best if single else positive)
    first = above[:, 0].clone(), tied[:, 0] - tied_positives, tied_positives  # a view would keep all counts in memory
    if not all_positives:
        return Ranking(*first, *torch.full((2, len(score)), torch.nan, dtype=torch.float64, device="cpu").unbind())
    ascending = positive.flip(1).contiguous()
    lower = torch.searchsorted(ascending, positive.contiguous())
    upto = torch.searchsorted(ascending, positive.contiguous(), right=True)
    positives_above, positives_tied = (part.cpu().double() for part in (positive.shape[1] - upto, upto - lower))
    present = (positive > -torch.inf).cpu()
    return Ranking(*first, *precision_and_gain(above, tied, positives_above, positives_tied, present))


def _positives(
    query_groups: Int[Tensor, " Q"], gallery_groups: Int[Tensor, " G"]
) -> tuple[Int[Tensor, " G"], Int[Tensor, " Q"], Int[Tensor, " Q"]]:
    """Return the positives of all queries.

    Returns:
        members: indices of the gallery rows, sorted by group. The positives of a query are consecutive.
        start: for each query, the position of its first positive in `members`.
        count: for each query, the number of its positives.
    """
    labels, counts = torch.unique(gallery_groups, return_counts=True)
    at = torch.searchsorted(labels, query_groups.to(labels.dtype)).clamp_(max=len(labels) - 1)
    unmatched = labels[at] != query_groups
    if unmatched.any():
        row = int(unmatched.nonzero()[0])
        raise InputError(
            f"query row {row} (group {int(query_groups[row])}) has no positive among the "
            f"{len(gallery_groups)} gallery items; add a gallery item from the same group"
        )
    return gallery_groups.argsort(stable=True), (counts.cumsum(0) - counts)[at], counts[at]


def _twins(gallery: Float[Tensor, "G d"]) -> tuple[Int[Tensor, " twins"], Int[Tensor, " twins"]]:
    """Return the indices of duplicate gallery rows and, for each duplicate, the index of the first identical row."""
    _, code, counts = torch.unique(gallery[:, 0], return_inverse=True, return_counts=True)
    row = (counts[code] > 1).nonzero().flatten()  # only rows with an equal first number can be identical
    distinct, code = torch.unique(gallery[row], dim=0, return_inverse=True)
    first = row.new_full((len(distinct),), len(gallery)).scatter_reduce_(0, code, row, "amin")[code]
    repeated = first != row
    return row[repeated], first[repeated]


def _spans(widths: Int[Tensor, " Q"], bytes_per_query: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of consecutive chunks of queries that fit the memory limit.

    A single query that exceeds the limit forms a chunk of its own. `widths` contains the number of positives of each
    query, in descending order.
    """
    first = 0
    while first < len(widths):
        rows = max(1, _CHUNK_BYTES // (bytes_per_query + int(widths[first]) * _BYTES_PER_POSITIVE))
        yield first, min(first + rows, len(widths))
        first += rows


def _above_and_tied(
    score: Float[Tensor, "B G"], bars: Float[Tensor, "B L"]
) -> tuple[Float[Tensor, "B L"], Float[Tensor, "B L"]]:
    """Return, for each threshold in `bars`, how many scores are greater than it, and how many are equal to it.

    Row i of `bars` contains the thresholds for row i of `score`. Rows are processed in slices that fit in the cache.
    """
    rows = max(-(-len(score) // _SLICES), _SMALL // score.shape[1])
    count = _compared if bars.shape[1] <= _FEW else _searched
    slices = [(score[first : first + rows], bars[first : first + rows]) for first in range(0, len(score), rows)]
    above, reaching = (torch.cat(parts) for parts in zip(*(count(*each) for each in slices), strict=True))
    return above, reaching - above


def _compared(score: Float[Tensor, "B G"], bars: Float[Tensor, "B L"]) -> tuple[Tensor, Tensor]:
    """For each threshold, count the scores that are above it, and the scores that are at or above it.

    Row i of `bars` contains the thresholds for row i of `score`. Every score is compared with every threshold of its
    row.
    """
    exact = None if score.shape[1] <= _EXACT_FLOAT32_COUNT else torch.float64
    flags = torch.empty_like(score)
    above, reaching = (
        torch.stack([compare(score, bar[:, None], out=flags).sum(1, dtype=exact) for bar in bars.unbind(1)], 1)
        for compare in (torch.gt, torch.ge)
    )
    return above.cpu().double(), reaching.cpu().double()


def _searched(score: Float[Tensor, "B G"], bars: Float[Tensor, "B L"]) -> tuple[Tensor, Tensor]:
    """For each threshold, count the scores above it, and the scores at or above it.

    Let t' be the largest floating-point number below a threshold t. Then score >= t is the same as score > t', so it
    suffices to count the scores above each t and each t'. For this, all t and t' of a row are sorted together. For each
    score, a binary search finds how many of them are below the score. A cumulative histogram of the results gives the
    counts.
    """
    below = torch.nextafter(bars, torch.full_like(bars, -torch.inf))
    edges, order = torch.cat([bars, below], 1).sort(1)
    place = torch.searchsorted(edges, score)  # number of edges that the score exceeds
    size = edges.shape[1] + 1
    place += size * torch.arange(len(score), device=score.device)[:, None]
    histogram = torch.bincount(place.flatten(), minlength=len(score) * size).view(len(score), size)
    exceeding = histogram.flip(1).cumsum(1).flip(1)[:, 1:]
    above, reaching = torch.empty_like(exceeding).scatter_(1, order, exceeding).cpu().double().chunk(2, dim=1)
    return above, reaching


def _check_shapes(query: Tensor, gallery: Tensor, query_groups: Tensor, gallery_groups: Tensor) -> None:
    if query.shape[1] != gallery.shape[1]:
        raise InputError(
            f"query rows have width {query.shape[1]}, but gallery rows have width {gallery.shape[1]}; use equal widths"
        )
    for name, rows, groups in (("query", query, query_groups), ("gallery", gallery, gallery_groups)):
        if len(rows) == 0:
            raise InputError(f"{name} has no rows; pass at least one row")
        if len(rows) != len(groups):
            raise InputError(f"{name} has {len(rows)} rows but {len(groups)} group labels; pass one label per row")


def _check_finite(query: Float[Tensor, "Q d"], gallery: Float[Tensor, "G d"]) -> None:
    """Raise NotFiniteError if a score can overflow, or if embeddings contain NaN or Inf.

    By the Cauchy-Schwarz inequality, no score can exceed the product of the largest query norm and the largest gallery
    norm. If this product is finite, no other check is needed.
    """
    largest = [torch.linalg.vector_norm(rows, dim=1).amax() for rows in (query, gallery)]
    if torch.isfinite(largest[0] * largest[1]):
        return
    check_rows(query, "query embeddings")
    check_rows(gallery, "gallery embeddings")
    raise NotFiniteError("inner products of query and gallery embeddings overflow; normalise the rows")


def check_rows(embeddings: Float[Tensor, "N d"], what: str) -> None:
    """Raise NotFiniteError if the embeddings contain NaN or Inf. The message names the first invalid row."""
    bad = ~torch.isfinite(embeddings).all(1)
    if bad.any():
        raise NotFiniteError(f"{what} contain NaN or Inf, first in row {int(bad.nonzero()[0])}; ranks are undefined")
