"""What is stored and learned -> the rows that students train on.

A synthetic set is a dict of stored tensors and a recorded rule to expand them into one row matrix per modality.
Expansion is differentiable in training, exact and cheap in use. `Plain` stores the rows themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Parametrisation(Protocol):
    """How rows are stored."""

    def init(self, rows: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Tensor]:
        """Stored tensors that expand to (or start from) the given real rows."""
        ...

    def expand(self, tensors: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "_ _"]]:
        """One N x p_m row matrix per modality."""
        ...


@dataclass(frozen=True)
class Plain:
    """Rows are stored as they are, float32."""

    def init(self, rows: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Tensor]:
        """A copy of the rows."""
        return {name: matrix.clone() for name, matrix in rows.items()}

    def expand(self, tensors: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "_ _"]]:
        """The stored rows."""
        return dict(tensors)
