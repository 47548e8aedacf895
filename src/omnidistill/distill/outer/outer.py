"""What an outer objective is: the loss of the outer loop, by which the rows are learned.

The settings are a component (`OuterObjective`); bound to data, start heads and experts it is an `Outer`, which draws
the episodes of the loop and gives their loss.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from omnidistill.core.registry import ComponentRegistry
from omnidistill.core.settings import Component
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.models.heads import Heads
from omnidistill.training.experts import ExpertBuffer
from omnidistill.training.rollout import Endpoint


@dataclass(frozen=True)
class Episode:
    """One outer iteration: where the student starts, and what it is compared with."""

    start: Heads
    target: Any  # what the loss of the outer objective needs


@runtime_checkable
class Outer(Protocol):
    """A bound outer objective."""

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms of the loss."""
        ...

    def episode(self, iteration: int, streams: Streams) -> Episode:
        """Draw the start (and the target) of an iteration from named streams."""
        ...

    def loss(self, endpoint: Endpoint, episode: Episode) -> Float[Tensor, " k"]:
        """Return the terms; their sum is minimised."""
        ...


@dataclass(frozen=True)
class Material:
    """What an outer objective is bound to. experts: None unless the objective uses them."""

    train: FeatureSet
    start: Heads
    iterations: int
    experts: ExpertBuffer | None = None


class OuterObjective(Component):
    """Settings of an outer objective."""

    uses_experts: ClassVar[bool] = False
    """Whether `bind` needs an expert buffer."""

    @abstractmethod
    def bind(self, material: Material) -> Outer:
        """Return the objective for these data."""

    @property
    def last_epoch(self) -> int:
        """The last expert epoch that is certain to be read; 0: none."""
        return 0

    @property
    def span(self) -> int | None:
        """Expert epochs between start and target, for the stored spectra; None: all that an expert has."""
        return 1


outer_objectives: ComponentRegistry[OuterObjective] = ComponentRegistry(
    "outer objective",
    OuterObjective,  # type: ignore[type-abstract]
    {
        "trajectory": "omnidistill.distill.outer.trajectory",
        "shortcut": "omnidistill.distill.outer.shortcut",
        "task": "omnidistill.distill.outer.task",
    },
    group="omnidistill.outer_objectives",
)
"""Every outer objective by name."""

AnyOuter = Annotated[OuterObjective, outer_objectives]
"""Type of a settings field that holds an outer objective."""
