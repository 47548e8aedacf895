"""Trajectory matching (Cazenavette et al. 2022; HoPA eq. 7): the student should end at the same heads as an expert.

Experts are trained on real rows. The student starts from the heads W_0 that an expert has after epoch s, and takes T
steps on the synthetic set. The resulting heads W_T are compared with the heads W* of the expert after epoch s + k:

    L = sum_m ||W_T,m - W*_m||^2 / ||W_0,m - W*_m||^2        sum over modalities m, each with its own denominator

If `task_weight` is not 0, the loss of the same student on real rows is an additional term (`outer.task_loss`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from omnidistill.core.device import moved
from omnidistill.core.settings import Count
from omnidistill.core.streams import Streams
from omnidistill.distillation.outer.outer_objective import Episode, Material, Outer, OuterObjective, outer_objectives
from omnidistill.distillation.outer.task_loss import TaskObjective, WithTask
from omnidistill.models.heads import Heads
from omnidistill.training.experts.buffer import ExpertBuffer
from omnidistill.training.rank_floor import rank_floor
from omnidistill.training.rollout import Endpoint, Target


@dataclass(frozen=True)
class TrajectoryMatching:
    """Trajectory matching loss, which compares the student with one expert per outer iteration.

    The experts take turns: every round uses each expert once, in a new random order.

    Attributes:
        buffer: the expert trajectories.
        num_expert_epochs: number k of expert epochs that the student must reproduce. A student that starts from the
            heads after epoch s must match the heads after epoch s + k. None: it must match the heads after the last
            epoch.
        max_start_epoch: the epoch s is random, from 0 to `max_start_epoch` - 1.
        own_from: number of iterations that use all experts. Later iterations use only the experts that were trained
            from the run's initial heads. None: all iterations use all experts.
        device: device of the run, to which the experts' heads are moved.
    """

    buffer: ExpertBuffer
    num_expert_epochs: int | None
    max_start_epoch: int
    own_from: int | None = None
    device: torch.device | str = "cpu"

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms of the loss, which are the names of the modalities."""
        return self.buffer.modalities

    def episode(self, iteration: int, streams: Streams) -> Episode:
        """Return the heads from which the student starts, and the target that it must match.

        The experts take turns. The student starts from the heads of one expert after a random epoch. The target is the
        heads of the same expert after a later epoch (stored as the difference from the student's initial heads).
        """
        expert, first, last = self._draw(iteration, streams)
        start, goal = self._heads(expert, first), self._heads(expert, last)
        difference = {name: start[name] - goal[name] for name in start}
        return Episode(start, Target(difference, self._squared_distances(expert)[:, first, last]))

    def loss(self, endpoint: Endpoint, episode: Episode) -> Float[Tensor, " M"]:
        """Return one loss per modality: the squared distance from the trained heads to the target heads.

        It is divided by the squared distance from the initial heads of the student to the target heads.
        """
        target: Target = episode.target
        return endpoint.squared_distances(target) / target.squared_norms

    def floor(self, rank: int) -> dict[str, float] | None:
        """Return a lower bound on the loss of each modality, or None if the bound cannot be computed.

        The bound holds for any set of `rank` rows. For each epoch from which the student can start, it follows from the
        singular values (Eckart-Young) of the change in the first expert's heads over the next `num_expert_epochs`
        epochs. The result is the mean over these start epochs. Return None if the expert buffer stores the singular
        values for another number of epochs.
        """
        if self.buffer.spectrum_epochs != (self.num_expert_epochs or self.buffer.last_epochs[0]):
            return None
        return {
            name: sum(rank_floor(values, rank) for values in spectra[: self.max_start_epoch])
            / len(spectra[: self.max_start_epoch])
            for name, spectra in self.buffer.spectra.items()
        }

    def _heads(self, expert: int, epoch: int) -> Heads:
        return moved(self.buffer.heads(expert, epoch), self.device)

    def _squared_distances(self, expert: int) -> Float[Tensor, "M S S"]:
        return self.buffer.squared_distances[expert].to(self.device)

    def _draw(self, iteration: int, streams: Streams) -> tuple[int, int, int]:
        """Return the expert, the start epoch and the target epoch for an iteration."""
        pool: Sequence[int] = range(self.buffer.num_experts)
        name, since = "order", 0
        if self.own_from is not None and iteration >= self.own_from:
            pool, name, since = self.buffer.own_experts, "own", self.own_from
        turn, position = divmod(iteration - since, len(pool))
        order = torch.randperm(len(pool), generator=Streams(streams.seed)[f"experts/{name}/{turn}"], device="cpu")
        expert = pool[int(order[position])]
        first = int(torch.randint(self.max_start_epoch, (1,), generator=streams["starts"], device="cpu"))
        last = first + self.num_expert_epochs if self.num_expert_epochs else self.buffer.last_epochs[expert]
        return expert, first, last


@outer_objectives.register("trajectory")
class TrajectoryObjective(OuterObjective):
    """Trajectory matching: the student should end at the same heads as an expert trained on real rows."""

    uses_experts: ClassVar[bool] = True
    cites: ClassVar[tuple[str, ...]] = ("mtt", "mtt-vl")

    num_expert_epochs: Count | None = None
    """Number of expert epochs that the student must reproduce in its training steps (HoPA paper: 2). If absent, all
    epochs of an expert."""
    max_start_epoch: Count = 1
    """Students start from the heads of an expert after a random epoch below this number (HoPA paper: 5, but 7 for sets
    of 500 rows)."""
    own_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Fraction of the outer iterations that use only experts trained from the run's own initial heads. These are the
    last iterations; the others use all experts."""
    task_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the student's loss on real rows, relative to the loss of trajectory matching (initially 1 per
    modality). With 0, only trajectories are matched."""
    task: Annotated[TaskObjective, outer_objectives] = TaskObjective()
    """Loss of the trained student on real rows, used if `task_weight` is not 0."""

    @model_validator(mode="after")
    def _starts_fit(self) -> TrajectoryObjective:
        if self.num_expert_epochs is None and self.max_start_epoch > 1:
            raise ValueError(
                "max_start_epoch above 1 requires num_expert_epochs, because a later start leaves fewer epochs to match"
            )
        if not isinstance(self.task, TaskObjective):
            raise ValueError("task must be of kind 'task'")
        return self

    def bind(self, material: Material) -> Outer:
        """Return the trajectory matching loss, plus the weighted task loss if `task_weight` is not 0."""
        matching = self.matching(material)
        if not self.task_weight:
            return matching
        return WithTask(matching, self.task.bind(material), self.task_weight)

    def matching(self, material: Material) -> TrajectoryMatching:
        """Return the trajectory matching loss alone, without the loss on real rows."""
        assert material.experts is not None
        own_from = round((1 - self.own_share) * material.iterations)
        device = material.train.device
        return self._form(material.experts, self.num_expert_epochs, self.max_start_epoch, own_from, device)

    @property
    def last_epoch(self) -> int:
        """Minimum number of epochs for which every expert must be trained."""
        return self.max_start_epoch - 1 + (self.num_expert_epochs or 1)

    @property
    def span(self) -> int | None:
        """Number of expert epochs that the student must reproduce. None means all epochs of an expert."""
        return self.num_expert_epochs

    _form: ClassVar[type[TrajectoryMatching]] = TrajectoryMatching
