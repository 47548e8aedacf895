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
    """The trained heads of R runs, for one row of a table.

    Attributes:
        label: name of the row in tables.
        parts: stacked heads (R x d x p_m): one part for all modalities, or one part per pair of modalities. A retrieval
            direction is scored with the first part that contains both of its modalities.
        bytes: size of the files that a user of the heads needs, without the initial heads (see
            `distillation.shipped_bytes`).
        seconds: time to tune and train all runs.
        settings: the settings that validation chose, as JSON.
        num_evaluated: number of students evaluated on validation to choose the settings.
        bias: {modality: vector of width d}, added to the outputs of every run; only if there is a single part.

    Shapes: R runs, d embedding width, p_m feature width.
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
        """The heads that were trained jointly for all modalities.

        Raises:
            InputError: the heads were trained separately for each pair of modalities.
        """
        if len(self.parts) > 1:
            raise InputError(
                f"heads of '{self.label}': every pair of modalities has separate heads; use the attribute 'parts' "
                "instead of 'heads'"
            )
        return self.parts[0]

    @property
    def num_runs(self) -> int:
        """Number of runs R."""
        return len(next(iter(self.parts[0].values())))
