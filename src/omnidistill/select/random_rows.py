"""Random rows, stratified by group: the baseline that every other choice has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from omnidistill.features.featureset import FeatureSet
from omnidistill.heads import Heads
from omnidistill.select.selector import check_size
from omnidistill.select.turns import first_by_turns


def random_rows(
    train: FeatureSet,
    start: Heads,
    size: int,
    generator: torch.Generator,
    trajectory: Sequence[Heads] | None = None,
) -> Int[Tensor, " N"]:
    """Uniformly random rows; groups take turns. Uses no heads."""
    check_size(size, len(train))
    return first_by_turns(torch.randperm(len(train), generator=generator), train.group_codes, size)
