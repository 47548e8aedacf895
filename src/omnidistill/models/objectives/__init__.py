"""Objectives: scalar losses of head outputs and target similarities, each with its gradient in closed form.

An objective is any object with `value` and `gradient` as in the protocol below. `gradient` must be differentiable
once more (with respect to outputs and targets), since distillation differentiates through the student's training
steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from omnidistill.config import HopaConfig, InfoNCEConfig, ObjectiveConfig, PairwiseConfig
from omnidistill.core.errors import InputError, nearest
from omnidistill.models.objectives.hopa import Hopa
from omnidistill.models.objectives.infonce import InfoNCE
from omnidistill.models.objectives.pairwise import PairwiseWbce

__all__ = ["Hopa", "InfoNCE", "Objective", "PairwiseWbce", "objective_from"]


@runtime_checkable
class Objective(Protocol):
    """A loss L(Y, S) of head outputs Y (M modalities, b instances, width d) and target similarities S (b x b)."""

    def value(self, outputs: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]) -> Float[Tensor, "*r"]:
        """L, one number per leading index."""
        ...

    def gradient(
        self, outputs: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]
    ) -> Float[Tensor, "*r M b d"]:
        """dL/dY in closed form."""
        ...


def objective_from(config: ObjectiveConfig, modalities: Sequence[str]) -> Objective:
    """The objective that a configuration names, for heads in the given order of modalities.

    Raises:
        InputError: the anchor is not one of the modalities.
    """
    match config:
        case HopaConfig():
            return Hopa(**config.model_dump(exclude={"kind"}))
        case PairwiseConfig():
            return PairwiseWbce(config.tau, config.threshold, config.reduction, _index(config.anchor, modalities))
        case InfoNCEConfig():
            return InfoNCE(config.tau, _index(config.anchor, modalities))


def _index(anchor: str | None, modalities: Sequence[str]) -> int | None:
    if anchor is None:
        return None
    if anchor not in modalities:
        raise InputError(
            f"anchor '{anchor}' is not a modality of the data ({', '.join(modalities)}){nearest(anchor, modalities)}"
        )
    return list(modalities).index(anchor)
