"""Groups take turns: none gets another row while some other group that has rows left has got fewer.

Rows of one group are positives of each other, and two of them tell a student little more than one. Up to as many rows
as there are groups, the rows chosen are of distinct groups.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor


class GroupTurns:
    """Which rows a greedy selector may take next."""

    def __init__(self, codes: Int[Tensor, " n"]) -> None:
        self._codes = codes
        self._taken = torch.zeros_like(codes, dtype=torch.bool)
        self._given = torch.zeros_like(codes)  # rows that the group of each row has got

    @property
    def open(self) -> Bool[Tensor, " n"]:
        """The rows that may be taken now; asked only while some row is left."""
        left = ~self._taken
        return left & (self._given == self._given[left].min())

    def take(self, row: int) -> None:
        """Give the row's group this row."""
        self._taken[row] = True
        self._given += self._codes == self._codes[row]


def first_by_turns(ranking: Int[Tensor, " n"], codes: Int[Tensor, " n"], size: int) -> Int[Tensor, " N"]:
    """The first `size` rows of a ranking of all rows (best first) when groups take turns: every group's best row in
    the order of the ranking, then every group's second row, and so on.
    """
    by_group = codes[ranking].argsort(stable=True)
    counts = codes.bincount()
    begins = (counts.cumsum(0) - counts).repeat_interleave(counts)
    turn = torch.empty_like(ranking)
    turn[by_group] = torch.arange(len(ranking), device=ranking.device) - begins
    return ranking[turn.argsort(stable=True)[:size]].cpu()
