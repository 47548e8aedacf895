"""A line of a table: heads trained in one way, what it took, and what validation chose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.training.experts.epochs import StackedHeads


@dataclass(frozen=True)
class Line:
    """Heads of R runs (R x d x p_m), once for all modalities or once for every pair of them.

    A direction is scored by the first part that has both its modalities. `bias` (d), added to outputs, is of the only
    part. `judged`: students that validation compared to choose the settings.
    """

    label: str
    parts: tuple[StackedHeads, ...]
    bytes: int
    seconds: float
    settings: dict[str, Any]
    judged: int = 0
    bias: Mapping[str, Float[Tensor, " _"]] | None = field(default=None)

    @property
    def heads(self) -> StackedHeads:
        """The heads of a line that has one part. Raises InputError for one of pairs."""
        if len(self.parts) > 1:
            raise InputError(f"line '{self.label}': has heads for every pair of modalities, not one for all")
        return self.parts[0]

    @property
    def num_runs(self) -> int:
        """R."""
        return len(next(iter(self.parts[0].values())))
