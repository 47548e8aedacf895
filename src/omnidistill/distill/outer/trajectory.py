"""Trajectory matching (Cazenavette et al. 2022; HoPA eq. 7): the student should end where an expert does.

A student that starts at an expert's epoch s and takes T steps on the synthetic set is compared with epoch s + k:

    L = sum_m ||W_T,m - W*_m||^2 / ||W_0,m - W*_m||^2        each branch with its own denominator

With a task weight, the loss of the same student on real rows is a further term (`outer.task`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from omnidistill.core.settings import Count
from omnidistill.core.streams import Streams
from omnidistill.distill.outer.outer import Episode, Material, Outer, OuterObjective, outer_objectives
from omnidistill.distill.outer.task import TaskObjective, WithTask
from omnidistill.training.experts.buffer import ExpertBuffer
from omnidistill.training.rank_floor import rank_floor
from omnidistill.training.rollout import Endpoint, Target


@dataclass(frozen=True)
class TrajectoryMatching:
    """Match expert trajectories. Experts are taken in a random order, each once before any comes again.

    num_expert_epochs: the span; None: up to the last epoch of each expert. own_from: the iteration from which on only
    experts that start from the run's own heads are taken; None: never.
    """

    buffer: ExpertBuffer
    num_expert_epochs: int | None
    max_start_epoch: int
    own_from: int | None = None

    @property
    def terms(self) -> tuple[str, ...]:
        """The modalities."""
        return self.buffer.modalities

    def episode(self, iteration: int, streams: Streams) -> Episode:
        """The next expert of the order, and a start epoch below `max_start_epoch`."""
        expert, first, last = self._draw(iteration, streams)
        start, goal = self.buffer.heads(expert, first), self.buffer.heads(expert, last)
        difference = {name: start[name] - goal[name] for name in start}
        return Episode(start, Target(difference, self.buffer.squared_distances[expert, :, first, last]))

    def loss(self, endpoint: Endpoint, episode: Episode) -> Float[Tensor, " M"]:
        """Relative squared distance of each branch."""
        target: Target = episode.target
        return endpoint.squared_distances(target) / target.squared_norms

    def floor(self, rank: int) -> dict[str, float] | None:
        """Lowest loss that any set of `rank` rows can reach per branch, mean over starts (first expert); None if not
        stored.
        """
        if self.buffer.spectrum_epochs != (self.num_expert_epochs or self.buffer.last_epochs[0]):
            return None
        return {
            name: sum(rank_floor(values, rank) for values in spectra[: self.max_start_epoch])
            / len(spectra[: self.max_start_epoch])
            for name, spectra in self.buffer.spectra.items()
        }

    def _draw(self, iteration: int, streams: Streams) -> tuple[int, int, int]:
        """Expert, start epoch and target epoch."""
        pool: Sequence[int] = range(self.buffer.num_experts)
        name, since = "order", 0
        if self.own_from is not None and iteration >= self.own_from:
            pool, name, since = self.buffer.own_experts, "own", self.own_from
        turn, position = divmod(iteration - since, len(pool))
        order = torch.randperm(len(pool), generator=Streams(streams.seed)[f"experts/{name}/{turn}"])
        expert = pool[int(order[position])]
        first = int(torch.randint(self.max_start_epoch, (1,), generator=streams["starts"]))
        last = first + self.num_expert_epochs if self.num_expert_epochs else self.buffer.last_epochs[expert]
        return expert, first, last


@outer_objectives.register("trajectory")
class TrajectoryObjective(OuterObjective):
    """Match the path of experts."""

    uses_experts: ClassVar[bool] = True
    cites: ClassVar[tuple[str, ...]] = ("mtt", "mtt-vl")

    num_expert_epochs: Count | None = None
    """Expert epochs that the T student steps must cover (paper: 2); absent: all that an expert has."""
    max_start_epoch: Count = 1
    """Student starts are expert epochs 0 to this, exclusive (paper: 5; 7 at N = 500)."""
    own_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the iterations, at their end, in which only experts that start from the run's own heads are matched."""
    task_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the student's loss on real rows next to the matching loss, which starts at 1 per modality; 0: none."""
    task: Annotated[TaskObjective, outer_objectives] = TaskObjective()
    """That loss."""

    @model_validator(mode="after")
    def _starts_fit(self) -> TrajectoryObjective:
        if self.num_expert_epochs is None and self.max_start_epoch > 1:
            raise ValueError("max_start_epoch above 1 leaves no room to match all epochs; give num_expert_epochs")
        if not isinstance(self.task, TaskObjective):
            raise ValueError("task must be of kind 'task'")
        return self

    def bind(self, material: Material) -> Outer:
        """Return the matching loss, with the task loss where it has a weight."""
        matching = self.matching(material)
        if not self.task_weight:
            return matching
        return WithTask(matching, self.task.bind(material), self.task_weight)

    def matching(self, material: Material) -> TrajectoryMatching:
        """Return the matching loss alone."""
        assert material.experts is not None
        own_from = round((1 - self.own_share) * material.iterations)
        return self._form(material.experts, self.num_expert_epochs, self.max_start_epoch, own_from)

    @property
    def last_epoch(self) -> int:
        """The last expert epoch that is certain to be read."""
        return self.max_start_epoch - 1 + (self.num_expert_epochs or 1)

    @property
    def span(self) -> int | None:
        """Expert epochs between start and target."""
        return self.num_expert_epochs

    _form: ClassVar[type[TrajectoryMatching]] = TrajectoryMatching
