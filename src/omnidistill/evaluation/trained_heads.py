"""The trained heads of a table row, with their cost and the settings that validation chose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.core.json_value import Json
from omnidistill.training.experts.epochs import StackedHeads


@dataclass(frozen=True)
class TrainedHeads:
    """Heads of R runs (R x d x p_m), once for all modalities or once for every pair of them.

    Attributes:
        label: name of the row.
        parts: the heads; a direction is scored by the first part that has both its modalities.
        bytes: bytes to transmit: those of the heads, or of the rows to train them on.
        seconds: time to tune and train all runs.
        settings: the settings that validation chose, as JSON.
        num_evaluated: number of students evaluated on validation for this choice.
        bias: {modality: d}, added to the outputs of every run; only for heads with one part.
    """

    label: str
    parts: tuple[StackedHeads, ...]
    bytes: int
    seconds: float
    settings: Mapping[str, Json]
    num_evaluated: int = 0
    bias: Mapping[str, Float[Tensor, " _"]] | None = None

    @property
    def heads(self) -> StackedHeads:
        """The heads of a row with a single part.

        Raises:
            InputError: the row has one part per pair of modalities.
        """
        if len(self.parts) > 1:
            raise InputError(f"'{self.label}' has separate heads for every pair of modalities; use parts")
        return self.parts[0]

    @property
    def num_runs(self) -> int:
        """Number of runs R."""
        return len(next(iter(self.parts[0].values())))
