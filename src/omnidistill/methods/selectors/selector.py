"""What a selector is, and what all of them refuse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.models.heads import Heads

CHUNK_BYTES = 2**29
"""Memory that blocks of row-by-row comparisons may take at once; it changes speed and rounding, nothing else."""


@runtime_checkable
class Selector(Protocol):
    """Chooses rows of a training set; any callable of this signature is one."""

    def __call__(
        self,
        train: FeatureSet,
        start: Heads,
        size: int,
        generator: torch.Generator,
        trajectory: Sequence[Heads] | None = None,
        /,
    ) -> Int[Tensor, " N"]:
        """`size` distinct row numbers of `train` (int64, CPU), in the order of choice where there is one.

        start: the heads that training begins with. generator: a CPU generator, the only source of chance; what draws
        nothing leaves it as it is. trajectory: heads after every epoch of a training, the start (epoch 0) first.

        Raises InputError for a size outside 1..len(train), heads that do not fit the features, or a missing trajectory
        that the selector needs.
        """
        ...


def check_size(size: int, available: int, what: str = "training rows") -> None:
    """Raise InputError unless 1 <= size <= available."""
    if not 1 <= size <= available:
        raise InputError(f"size {size}: there are {available} {what}; use a size from 1 to {available}")
