"""Objectives: scalar losses of head outputs and target similarities, each with its gradient in closed form.

An objective is any object with `value` and `gradient` as in the protocol below. `gradient` must be differentiable once more (with
respect to outputs and targets), since distillation differentiates through the student's training steps.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from omnidistill.objectives.hopa import Hopa
from omnidistill.objectives.infonce import InfoNCE
from omnidistill.objectives.pairwise import PairwiseWbce

__all__ = ["Hopa", "InfoNCE", "Objective", "PairwiseWbce"]


@runtime_checkable
class Objective(Protocol):
    """A loss L(Y, S) of head outputs Y (M modalities, b instances, width d) and target similarities S (b x b)."""

    def value(
        self, outputs: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]
    ) -> Float[Tensor, "*r"]:
        """L, one number per leading index."""
        ...

    def gradient(
        self, outputs: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]
    ) -> Float[Tensor, "*r M b d"]:
        """dL/dY in closed form."""
        ...
