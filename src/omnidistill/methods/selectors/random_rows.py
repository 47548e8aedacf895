"""Random rows, spread evenly over the groups: the baseline for all other selectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.methods.selectors.selector import RowSelector, check_size, selectors
from omnidistill.methods.selectors.turns import first_by_turns
from omnidistill.models.heads import Heads


def random_rows(
    train: FeatureSet,
    start: Heads,
    size: int,
    generator: torch.Generator,
    trajectory: Sequence[Heads] | None = None,
) -> Int[Tensor, " N"]:
    """Select random rows, spread evenly over the groups. The initial heads are not used."""
    check_size(size, len(train))
    order = torch.randperm(len(train), generator=generator, device="cpu")
    return first_by_turns(order, train.group_codes.cpu(), size)


@selectors.register("random")
class RandomRows(RowSelector):
    """Random training rows, from different groups as far as possible."""

    def rows(
        self,
        train: FeatureSet,
        start: Heads,
        size: int,
        generator: torch.Generator,
        trajectory: Sequence[Heads] | None = None,
    ) -> Int[Tensor, " N"]:
        """Return the indices of the selected rows."""
        return random_rows(train, start, size, generator, trajectory)
