"""Herding (Welling 2009): rows selected one by one, so that their mean stays close to the mean of all rows.

The joint embedding J_i of row i contains its unit embeddings in all modalities, scaled so that ||J_i|| = 1. After t
selected rows, the next row i is the one whose J_i is nearest to

    w_t = (t + 1) (mean of J over all rows) - (sum of J over the t selected rows)

All J_i have length 1, so this is the row with the largest inner product <w_t, J_i>. Herding each modality separately
would select different rows in each modality and thus break the pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.methods.selectors.embeddings import joint_embeddings
from omnidistill.methods.selectors.selector import RowSelector, check_size, selectors
from omnidistill.methods.selectors.turns import GroupTurns
from omnidistill.models.heads import Heads


def herding(
    train: FeatureSet,
    start: Heads,
    size: int,
    generator: torch.Generator,
    trajectory: Sequence[Heads] | None = None,
) -> Int[Tensor, " N"]:
    """Select rows by greedy herding with joint embeddings, spread evenly over the groups. `generator` is not used."""
    check_size(size, len(train))
    points = joint_embeddings(train, start)
    turns = GroupTurns(train.group_codes)
    mean, chosen = points.mean(0), []
    direction = mean.clone()  # w_t
    for _ in range(size):
        row = int((points @ direction).masked_fill(~turns.open, -torch.inf).argmax())
        chosen.append(row)
        turns.take(row)
        direction += mean - points[row]
    return torch.tensor(chosen, device="cpu")


@selectors.register("herding")
class Herding(RowSelector):
    """Rows selected one by one, so that their mean stays close to the mean of all rows (herding)."""

    cites: ClassVar[tuple[str, ...]] = ("herding",)

    def rows(
        self,
        train: FeatureSet,
        start: Heads,
        size: int,
        generator: torch.Generator,
        trajectory: Sequence[Heads] | None = None,
    ) -> Int[Tensor, " N"]:
        """Return the indices of the selected rows."""
        return herding(train, start, size, generator, trajectory)
