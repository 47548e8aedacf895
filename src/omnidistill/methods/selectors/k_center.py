"""Greedy k-center (Gonzalez 1985; core-set of Sener & Savarese 2018): repeatedly select the farthest row.

Let J_i be the joint embedding of row i, that is, the embeddings of all its modalities. The selected rows are

    i_1 = argmin_i || J_i - mean(J) ||,        i_{t+1} = argmax_i min_{s <= t} || J_i - J_{i_s} ||
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.methods.selectors.embeddings import joint_embeddings, squared_distances
from omnidistill.methods.selectors.selector import RowSelector, check_size, selectors
from omnidistill.methods.selectors.turns import GroupTurns
from omnidistill.models.heads import Heads


def k_center(
    train: FeatureSet,
    start: Heads,
    size: int,
    generator: torch.Generator,
    trajectory: Sequence[Heads] | None = None,
) -> Int[Tensor, " N"]:
    """Select rows by greedy k-center, spread evenly over the groups. The result is not random.

    If every row is its own group, the largest distance of a row from its nearest selected row is at most twice as large
    as in the optimal selection.
    """
    check_size(size, len(train))
    points = joint_embeddings(train, start)
    turns = GroupTurns(train.group_codes)
    row = int(squared_distances(points, points.mean(0, keepdim=True)).argmin())
    chosen = [row]
    turns.take(row)
    radius = squared_distances(points, points[row : row + 1])[:, 0]
    for _ in range(size - 1):
        row = int(radius.masked_fill(~turns.open, -1).argmax())
        chosen.append(row)
        turns.take(row)
        radius = torch.minimum(radius, squared_distances(points, points[row : row + 1])[:, 0])
    return torch.tensor(chosen, device="cpu")


@selectors.register("k-center")
class KCenter(RowSelector):
    """Rows selected such that no row is far from its nearest selected row (greedy k-center)."""

    cites: ClassVar[tuple[str, ...]] = ("k-center",)

    def rows(
        self,
        train: FeatureSet,
        start: Heads,
        size: int,
        generator: torch.Generator,
        trajectory: Sequence[Heads] | None = None,
    ) -> Int[Tensor, " N"]:
        """Return the indices of the selected rows."""
        return k_center(train, start, size, generator, trajectory)
