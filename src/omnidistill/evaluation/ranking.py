"""Metrics of one direction of retrieval, each in expectation over random tie-breaking.

Items with the same score are in random order, and a metric is the mean of its value over all orders.

The best positives of a query are those with the highest score. Let p be their number, t the number of negatives with
the same score, and g the number of negatives with a higher score. Then t + p items are tied. The number of tied items
among the first K items is s = K - g, clamped to the range from 0 to t + p. Places among the tied items are numbered
j = 1, ..., t + p. With probabilities Pr and expected values E,

    Pr(hit at K)  = 1 - binom(t, s) / binom(t + p, s)
    E(rank)       = 1 + g + t / (p + 1)
    E(1 / rank)   = sum_j Pr(first positive at place j of the tied items) / (g + j)

Average precision (AP) and nDCG@10 depend on all P positives of a query. Items with equal scores form a level. A level
has n items, r of them positive. Above it are c items, R of them positive. Then (McSherry and Najork, ECIR 2008)

    E(AP)    = 1 / P  sum_levels sum_{i=1..n}  r / n  (R + 1 + (i - 1) (r - 1) / (n - 1)) / (c + i)
    E(DCG)   = sum_levels r / n  sum_{i=c+1..min(c+n, 10)} 1 / log2(i + 1),     nDCG = DCG / (largest DCG)

Without ties these are the usual metrics. Shapes: Q queries, L positives per query (padded).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

NDCG_AT = 10
"""The cut-off of nDCG."""


@dataclass(frozen=True)
class Ranking:
    """Ranks of each query's positives in one retrieval direction (such as image to text), with ties.

    Every field is a float64 tensor on the CPU, with one number per query.

    Attributes:
        above: number g of negatives that score above the best positive.
        tied: number t of negatives that tie with the best positive.
        positives: number p of positives with the same score as the best positive, including the best positive itself.
        precision: expected average precision; NaN if not requested.
        gain: expected nDCG@10; NaN if not requested.
    """

    above: Float64[Tensor, " Q"]
    tied: Float64[Tensor, " Q"]
    positives: Float64[Tensor, " Q"]
    precision: Float64[Tensor, " Q"]
    gain: Float64[Tensor, " Q"]

    def __len__(self) -> int:
        return len(self.above)

    def hits(self, k: int) -> Float64[Tensor, " Q"]:
        """Return for each query the probability in [0, 1] that a positive is among the first k items."""
        if not self.tied.any():  # the best positive has a fixed place
            return (self.above < k).double()
        places = (k - self.above).clamp_(min=0).minimum(self.tied + 1)  # with t + 1 places, a hit is certain
        steps = int(min(places.max(), self.positives.max()))
        missed = (places <= self.tied).double()
        by_positive = bool(self.positives.max() < places.max())
        for step in range(steps):
            if by_positive:  # binom(t, s) / binom(t + p, s) = prod_{j=1..p} (t - s + j) / (t + j)
                factor = (self.tied - places + step + 1) / (self.tied + step + 1)
                missed *= torch.where(step < self.positives, factor, 1.0)
            else:  # = prod_{i=0..s-1} (t - i) / (t + p - i)
                factor = (self.tied - step) / (self.tied + self.positives - step)
                missed *= torch.where(step < places, factor, 1.0)
        return 1 - missed

    def ranks(self) -> Float64[Tensor, " Q"]:
        """Return for each query the expected rank of its first positive; 1 is best."""
        return 1 + self.above + self.tied / (self.positives + 1)

    def reciprocal_ranks(self) -> Float64[Tensor, " Q"]:
        """Return for each query the expected reciprocal rank of its first positive, in (0, 1]."""
        places = self.tied + 1
        values = _harmonic(self.above + places, self.above) / places  # exact for one positive
        several = (self.positives > 1).nonzero().flatten()
        if len(several):
            kinds = torch.stack([self.above, self.tied, self.positives], 1)[several]
            distinct, kind = torch.unique(kinds, dim=0, return_inverse=True)
            values[several] = torch.stack([_reciprocal(*each) for each in distinct.tolist()])[kind]
        return values

    def packed(self) -> Float64[Tensor, "Q 5"]:
        """Return all fields as one tensor, for storage."""
        return torch.stack([getattr(self, field.name) for field in fields(self)], dim=1)

    @classmethod
    def unpacked(cls, values: Float64[Tensor, "Q 5"]) -> Ranking:
        """Restore a ranking from the result of `packed`."""
        return cls(*values.unbind(1))

    @classmethod
    def joined(cls, parts: Sequence[Ranking]) -> Ranking:
        """Concatenate the queries of several rankings."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def select(self, rows: Tensor) -> Ranking:
        """Return the ranking of the selected queries."""
        return Ranking(*(getattr(self, field.name)[rows] for field in fields(self)))


def precision_and_gain(
    items_above: Float64[Tensor, "Q L"],
    items_tied: Float64[Tensor, "Q L"],
    positives_above: Float64[Tensor, "Q L"],
    positives_tied: Float64[Tensor, "Q L"],
    present: Bool[Tensor, "Q L"],
) -> tuple[Float64[Tensor, " Q"], Float64[Tensor, " Q"]]:
    """Return the expected average precision and nDCG@10 of each query.

    Args:
        items_above: number of items that score above each positive.
        items_tied: number of items with the same score as each positive, including the positive itself.
        positives_above: number of positives among the items above.
        positives_tied: number of positives among the tied items.
        present: True for positives, False for padding.
    """
    c, n, above, r = items_above, items_tied.clamp(min=1), positives_above, positives_tied
    slope = (r - 1) / (n - 1).clamp(min=1)
    precision = (slope * n + (above + 1 - slope * (c + 1)) * _harmonic(c + n, c)) / n
    discounts = torch.arange(2, NDCG_AT + 2, dtype=torch.float64, device="cpu").log2().reciprocal()
    total = torch.cat([discounts.new_zeros(1), discounts.cumsum(0)])  # over the first 0, 1, ... places
    last, first = ((edge.clamp(max=NDCG_AT)).long() for edge in (c + n, c))
    discounted = (total[last] - total[first]) / n
    counts = present.sum(1)
    mean = torch.where(present, precision, 0.0).sum(1) / counts
    return mean, torch.where(present, discounted, 0.0).sum(1) / total[counts.clamp(max=NDCG_AT)]


def _reciprocal(above: float, tied: float, positives: float) -> Tensor:
    """Return the expected reciprocal rank of a query's first positive if several positives tie for the best score.

    Args:
        above: number of negatives that score above these positives.
        tied: number of negatives that tie with them.
        positives: number of these positives.
    """
    place = torch.arange(1, int(tied) + 2, dtype=torch.float64, device="cpu")
    remaining = tied + positives - place + 1  # tied items from this place on
    missed = (tied - place + 1) / remaining  # no positive at this place if there was none before
    before = torch.cat([missed.new_ones(1), missed[:-1].cumprod(0)])
    return (before * positives / remaining / (above + place)).sum()


def _harmonic(stop: Tensor, start: Tensor) -> Tensor:
    """Return the sum of 1 / i for i = start + 1, ..., stop."""
    single = stop - start == 1
    return torch.where(single, stop.reciprocal(), torch.digamma(stop + 1) - torch.digamma(start + 1))
