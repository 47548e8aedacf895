"""Heads trained in one way: what a row of a table is scored from, what it took, and what validation chose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.training.experts.epochs import StackedHeads


@dataclass(frozen=True)
class TrainedHeads:
    """Heads of R runs (R x d x p_m), once for all modalities or once for every pair of them.

    Attributes:
        label: name of the row.
        parts: the heads; a direction is scored by the first part that has both its modalities.
        bytes: what a receiver needs to have the heads: their own bytes, or those of the rows to train on.
        seconds: time to tune and train all runs.
        settings: what validation chose, as JSON.
        judged: students that validation compared for it.
        bias: {modality: d}, added to outputs; only for heads with one part.
    """

    label: str
    parts: tuple[StackedHeads, ...]
    bytes: int
    seconds: float
    settings: Mapping[str, Any]
    judged: int = 0
    bias: Mapping[str, Float[Tensor, " _"]] | None = None

    @property
    def heads(self) -> StackedHeads:
        """The heads of a row that has one part.

        Raises:
            InputError: it has one of every pair of modalities.
        """
        if len(self.parts) > 1:
            raise InputError(f"'{self.label}': has heads for every pair of modalities, not one for all")
        return self.parts[0]

    @property
    def num_runs(self) -> int:
        """R."""
        return len(next(iter(self.parts[0].values())))
