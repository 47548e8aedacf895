"""Interface of outer objectives, the losses that the outer loop minimises to learn synthetic rows.

An `OuterObjective` contains the settings of an objective. Its method `bind` takes data, initial heads and experts, and
returns an `Outer`. In each iteration, the `Outer` draws an episode (initial heads and a target) and computes the loss.
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
    """Inputs of one outer iteration: the initial heads of the student, and the target of the loss."""

    start: Heads
    target: Any  # its type depends on the outer objective


@runtime_checkable
class Outer(Protocol):
    """An outer objective with its data. It draws the inputs of every outer iteration and computes the loss."""

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms of the loss."""
        ...

    def episode(self, iteration: int, streams: Streams) -> Episode:
        """Draw the initial heads and the target for an iteration. All random numbers come from `streams`."""
        ...

    def loss(self, endpoint: Endpoint, episode: Episode) -> Float[Tensor, " k"]:
        """Return the terms of the loss of a trained student. The outer loop minimises their sum.

        Args:
            endpoint: the trained student. Its methods return its heads, and their outputs and distances to other heads.
            episode: the initial heads of the student, and the target of the loss, drawn by the method `episode`.
        """
        ...


@dataclass(frozen=True)
class Material:
    """The data, heads and experts that an outer objective is bound to.

    Attributes:
        train: training rows.
        start: initial heads.
        iterations: number of outer iterations.
        experts: expert trajectories (heads saved during training on real rows), or None if the objective does not use
            them.
    """

    train: FeatureSet
    start: Heads
    iterations: int
    experts: ExpertBuffer | None = None


class OuterObjective(Component):
    """Base class for the settings of outer objectives, the losses that the outer loop minimises to learn a set."""

    uses_experts: ClassVar[bool] = False
    """Whether the method `bind` needs expert trajectories in `Material.experts`."""

    @abstractmethod
    def bind(self, material: Material) -> Outer:
        """Return an object that computes the loss for the data, heads and experts in `material`."""

    @property
    def last_epoch(self) -> int:
        """Minimum number of epochs for which every expert must be trained, or 0 if there is no minimum."""
        return 0

    @property
    def span(self) -> int | None:
        """Number of expert epochs that the student must reproduce in an outer iteration. None means all epochs.

        The number also defines the updates of the first expert, whose singular values the expert buffer stores; see
        `methods.Method.expert_span`.
        """
        return 1


outer_objectives: ComponentRegistry[OuterObjective] = ComponentRegistry(
    "outer objective",
    OuterObjective,  # type: ignore[type-abstract]
    {
        "trajectory": "omnidistill.distillation.outer.trajectory",
        "shortcut": "omnidistill.distillation.outer.shortcut",
        "task": "omnidistill.distillation.outer.task_loss",
    },
    group="omnidistill.outer_objectives",
)
"""All outer objectives, by name."""

AnyOuter = Annotated[OuterObjective, outer_objectives]
"""Type of a settings field that holds an outer objective."""
