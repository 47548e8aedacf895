"""The task itself as outer objective: the loss of the trained student on real rows.

The student's outputs on real rows X~ are X~ W_0^T + (X~ X^T) A_T, so their contrastive loss is differentiated exactly
through all T steps, with no expert and nothing between the set and what it is for:

    L = InfoNCE(Y_1 .. Y_M; rows of one group are positives)        of a random batch of training rows, without return
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from omnidistill.core.settings import Positive
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.distill.outer.outer import Episode, Material, Outer, OuterObjective, outer_objectives
from omnidistill.models.heads import Heads, shared_groups, stack
from omnidistill.models.objectives import InfoNCE
from omnidistill.training.rollout import Endpoint

TASK = "task/infonce"
"""The name of the term; none that a modality can have."""


@dataclass(frozen=True)
class TaskLoss:
    """InfoNCE of the trained student on random real rows; students start from the given heads."""

    train: FeatureSet
    start: Heads
    num_rows: int = 512
    tau: float = 0.07
    terms: tuple[str, ...] = field(default=(TASK,), init=False)

    def episode(self, iteration: int, streams: Streams) -> Episode:
        """The start, and the next rows of a random order of all."""
        return Episode(self.start, self.batch(iteration, streams))

    def batch(self, iteration: int, streams: Streams) -> Int[Tensor, " B"]:
        """The rows of an iteration: pieces of a random order, a new order when too few rows remain."""
        size = min(self.num_rows, len(self.train))
        order, piece = divmod(iteration, len(self.train) // size)
        return _order(len(self.train), streams.seed, order)[piece * size : (piece + 1) * size]

    def loss(self, endpoint: Endpoint, episode: Episode) -> Float[Tensor, 1]:
        """One number."""
        return self.on(endpoint, episode.target).unsqueeze(0)

    def on(self, endpoint: Endpoint, rows: Int[Tensor, " B"]) -> Float[Tensor, ""]:
        """The student's loss on these rows."""
        outputs = stack(endpoint.outputs({name: self.train.features[name][rows] for name in self.start}))
        targets = shared_groups(self.train.group_codes[rows]).to(outputs.dtype)
        return InfoNCE(tau=self.tau).value(outputs, targets)


@lru_cache(maxsize=1)
def _order(num_rows: int, seed: int, number: int) -> Int[Tensor, " n"]:
    """Drawn once, not in every iteration that takes a piece of it."""
    return torch.randperm(num_rows, generator=Streams(seed)[f"task/order/{number}"])


@dataclass(frozen=True)
class WithTask:
    """Another outer objective, and the task loss times a weight as a further term."""

    other: Outer
    task: TaskLoss
    weight: float

    @property
    def terms(self) -> tuple[str, ...]:
        """Those of the other, and that of the task."""
        return (*self.other.terms, *self.task.terms)

    def episode(self, iteration: int, streams: Streams) -> Episode:
        """The other's, with real rows."""
        episode = self.other.episode(iteration, streams)
        return Episode(episode.start, (episode.target, self.task.batch(iteration, streams)))

    def loss(self, endpoint: Endpoint, episode: Episode) -> Float[Tensor, " k"]:
        """The other's terms and one more."""
        target, rows = episode.target
        others = self.other.loss(endpoint, Episode(episode.start, target))
        return torch.cat([others, self.weight * self.task.on(endpoint, rows).unsqueeze(0)])


@outer_objectives.register("task")
class TaskObjective(OuterObjective):
    """InfoNCE of the trained student on real rows: no experts."""

    cites: ClassVar[tuple[str, ...]] = ("mtt",)

    rows: Annotated[int, Field(ge=2)] = 512
    """Real rows per iteration, or all if there are fewer."""
    tau: Positive = 0.07
    """Temperature of the cosine."""

    def bind(self, material: Material) -> TaskLoss:
        """Return the loss on these training rows."""
        return TaskLoss(material.train, material.start, self.rows, self.tau)
