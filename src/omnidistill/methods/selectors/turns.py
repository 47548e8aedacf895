"""Spread selected rows evenly over the groups.

The next row always comes from a group with the fewest selected rows. Groups without remaining rows are skipped. Rows of
the same group are positives of each other, so a second row of a group adds little information for a student. If there
are at least as many groups as rows to select, all selected rows come from different groups.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class GroupTurns:
    """Tracks which rows a greedy selector may select next, so that its rows are spread evenly over the groups."""

    def __init__(self, codes: Int[Tensor, " n"]) -> None:
        self._codes = codes
        self._taken = torch.zeros_like(codes, dtype=torch.bool)
        self._group_counts = torch.zeros_like(codes)  # rows taken so far from the group of each row

    @property
    def open(self) -> Bool[Tensor, " n"]:
        """Mask of the rows that may be selected next. It is undefined once all rows are selected."""
        remaining = ~self._taken
        return remaining & (self._group_counts == self._group_counts[remaining].min())

    def take(self, row: int) -> None:
        """Mark a row as selected."""
        self._taken[row] = True
        self._group_counts += self._codes == self._codes[row]


def first_by_turns(ranking: Int[Tensor, " n"], codes: Int[Tensor, " n"], size: int) -> Int[Tensor, " N"]:
    """Return the indices of the first `size` rows of a ranking, spread evenly over the groups.

    The best row of every group comes first, then the second-best row of every group, and so on. In each round, the rows
    are in the order of the ranking.

    Args:
        ranking: indices of all rows, with the best row first.
        codes: number of the group of each row.
        size: number of rows to return.
    """
    by_group = codes[ranking].argsort(stable=True)
    counts = codes.bincount()
    begins = (counts.cumsum(0) - counts).repeat_interleave(counts)
    turn = torch.empty_like(ranking)
    turn[by_group] = torch.arange(len(ranking), device=ranking.device) - begins
    return ranking[turn.argsort(stable=True)[:size]].cpu()


def highest_by_turns(scores: Float[Tensor, " n"], groups: Int[Tensor, " n"], size: int) -> Int[Tensor, " N"]:
    """Return the indices of the rows with the highest scores, spread evenly over the groups.

    Of rows with equal scores, the row with the lowest index comes first.
    """
    ranking = scores.argsort(descending=True, stable=True)
    return first_by_turns(ranking, groups, size)
