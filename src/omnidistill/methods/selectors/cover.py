"""Greedy maximisation of coverage by lazy evaluation (Minoux 1978).

Let s(i, j) be the similarity of rows i and j, and s_0 (`floor`) a lower bound on all similarities. The coverage of a
set S of selected rows is

    F(S) = sum_i max_{j in S} s(i, j)        over all n rows i;   F(S) = n s_0 if S is empty

F(S) - n s_0 is monotone and submodular. If every row is its own group, the greedy algorithm therefore reaches at least
1 - 1/e (63 %) of the maximum of F(S) - n s_0 (Nemhauser et al. 1978).

The gain of a row is the increase of F if this row is selected next. Gains never increase during the selection, so a
gain computed earlier is an upper bound on the current gain. Each step computes gains again in order of decreasing
bounds, until no remaining bound reaches the largest current gain.

Shapes: n rows, b rows per block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from omnidistill.core import memory
from omnidistill.methods.selectors.embeddings import row_chunks
from omnidistill.methods.selectors.turns import GroupTurns

SimilarityOf = Callable[[Int[Tensor, " b"]], Float[Tensor, "b n"]]
"""Function that returns the similarities of the given rows to all rows, where s(i, j) = s(j, i)."""

_BATCH = 64  # number of rows whose gains are evaluated at once
_ROUNDING = 1e-6


def greedy_cover(similarity_of: SimilarityOf, floor: float, codes: Int[Tensor, " n"], size: int) -> Int[Tensor, " N"]:
    """Select rows such that every row has a similar selected row. Return the indices of the selected rows.

    The coverage of a selection is the sum, over all rows, of the similarity to the most similar selected row. Each step
    selects the row that increases the coverage most, among the rows of the groups with the fewest selected rows so far.
    If several rows increase it equally (up to rounding), the one with the highest total similarity to all rows is
    selected.

    The similarities of all pairs are stored if they fit in `memory.CHUNK_BYTES`, and recomputed otherwise.

    Args:
        similarity_of: function that returns the similarities of b given rows to all n rows (b x n).
        floor: a negative lower bound on all similarities, such as -1 for cosines.
        codes: group number of each row (n).
        size: number of rows to select.
    """
    num_rows, every_row = len(codes), torch.arange(len(codes), device=codes.device)
    chunks = list(row_chunks(num_rows, num_rows))
    if 4 * num_rows**2 <= memory.CHUNK_BYTES:
        similarity_of = _precomputed(similarity_of, every_row, chunks)
    covered = torch.full((num_rows,), floor, device=codes.device)
    totals = torch.cat([_gains(similarity_of, every_row[rows], covered) for rows in chunks])
    bounds, turns, chosen = totals.clone(), GroupTurns(codes), []
    for _ in range(size):
        best = _best_rows(similarity_of, covered, bounds, turns.open, min(_BATCH, chunks[0].stop), -floor * _ROUNDING)
        row = int(totals.masked_fill(~best, -torch.inf).argmax())
        chosen.append(row)
        turns.take(row)
        covered = torch.maximum(covered, similarity_of(every_row[row : row + 1])[0])
    return torch.tensor(chosen, device="cpu")


def _best_rows(
    similarity_of: SimilarityOf, covered: Tensor, bounds: Tensor, allowed: Tensor, batch: int, slack: float
) -> Bool[Tensor, " n"]:
    """Return a mask of the allowed rows that increase coverage most, including ties up to rounding.

    `bounds` contains an upper bound on the increase for each row. If the function computes the exact increase of a row,
    it writes this increase to `bounds` in place of the bound.
    """
    stale = allowed.clone()
    while True:
        known = bounds.masked_fill(~allowed | stale, -torch.inf)
        waiting = bounds.masked_fill(~stale, -torch.inf)
        least = float(known.max()) * (1 - _ROUNDING) - slack
        if not bool((stale & (waiting >= least)).any()):
            return known >= least
        rows = waiting.topk(min(batch, int(stale.sum()))).indices
        bounds[rows] = _gains(similarity_of, rows, covered)
        stale[rows] = False


def _gains(similarity_of: SimilarityOf, rows: Tensor, covered: Tensor) -> Float[Tensor, " b"]:
    return (similarity_of(rows) - covered).clamp_min_(0).sum(1, dtype=torch.float64)


def _precomputed(similarity_of: SimilarityOf, every_row: Tensor, chunks: Sequence[slice]) -> SimilarityOf:
    table = torch.empty(len(every_row), len(every_row), device=every_row.device)
    for rows in chunks:
        table[rows] = similarity_of(every_row[rows])
    return lambda rows: table[rows]
