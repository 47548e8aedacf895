"""The task loss as an outer objective: the contrastive loss of the trained student on real rows.

Let X (N x p) be the synthetic rows of a modality, and W_0 (d x p) its initial head. After T training steps, the head is
W_T = W_0 + A_T^T X. The matrix A_T (N x d) sums up all T steps and is a differentiable function of X (see
`training.rollout`). The outputs of the head on real rows X~ are Y = X~ W_0^T + (X~ X^T) A_T. For the outputs
Y_1 .. Y_M of all M modalities on a batch of training rows, the loss is

    L = InfoNCE(Y_1 .. Y_M; rows of one group are positives).

Its gradient with respect to X is exact. This objective optimises the downstream task directly and needs no experts.
Batches are drawn without replacement.
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
from omnidistill.distillation.outer.outer_objective import Episode, Material, Outer, OuterObjective, outer_objectives
from omnidistill.models.heads import Heads, shared_groups, stack
from omnidistill.models.objectives import InfoNCE
from omnidistill.training.rollout import Endpoint

TASK = "task/infonce"
"""Name of the term; no modality can have this name."""


@dataclass(frozen=True)
class TaskLoss:
    """InfoNCE of the trained student on random training rows. Every student starts from the same initial heads."""

    train: FeatureSet
    start: Heads
    num_rows: int = 512
    tau: float = 0.07
    terms: tuple[str, ...] = field(default=(TASK,), init=False)

    def episode(self, iteration: int, streams: Streams) -> Episode:
        """Return the initial heads of the student, and the indices of the real rows for this iteration."""
        return Episode(self.start, self.batch(iteration, streams))

    def batch(self, iteration: int, streams: Streams) -> Int[Tensor, " B"]:
        """Return the row indices for an iteration.

        Batches are consecutive slices of a random order of all rows. When fewer rows remain than a batch needs, a new
        random order is drawn.
        """
        size = min(self.num_rows, len(self.train))
        order, piece = divmod(iteration, len(self.train) // size)
        rows = _order(len(self.train), streams.seed, order)[piece * size : (piece + 1) * size]
        return rows.to(self.train.device)

    def loss(self, endpoint: Endpoint, episode: Episode) -> Float[Tensor, 1]:
        """Return the loss, as a tensor with one element."""
        return self.on(endpoint, episode.target).unsqueeze(0)

    def on(self, endpoint: Endpoint, rows: Int[Tensor, " B"]) -> Float[Tensor, ""]:
        """Return the loss of the student on the training rows with these indices."""
        outputs = stack(endpoint.outputs({name: self.train.features[name][rows] for name in self.start}))
        targets = shared_groups(self.train.group_codes[rows]).to(outputs.dtype)
        return InfoNCE(tau=self.tau).value(outputs, targets)


@lru_cache(maxsize=1)
def _order(num_rows: int, seed: int, number: int) -> Int[Tensor, " n"]:
    """Return a random permutation of the row indices, which depends on `seed` and `number`."""
    return torch.randperm(num_rows, generator=Streams(seed)[f"task/order/{number}"], device="cpu")


@dataclass(frozen=True)
class WithTask:
    """The sum of another outer objective and the weighted task loss (InfoNCE of the student on real rows)."""

    other: Outer
    task: TaskLoss
    weight: float

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of all loss terms: those of the objective to which the task loss is added, then the task loss."""
        return (*self.other.terms, *self.task.terms)

    def episode(self, iteration: int, streams: Streams) -> Episode:
        """Return the initial heads and the target of an iteration.

        The target is a pair: the target of `self.other`, and the indices of the real rows for the task loss.
        """
        episode = self.other.episode(iteration, streams)
        return Episode(episode.start, (episode.target, self.task.batch(iteration, streams)))

    def loss(self, endpoint: Endpoint, episode: Episode) -> Float[Tensor, " k"]:
        """Return the terms of the other outer objective, `self.other`, followed by the weighted task loss.

        The task loss is the InfoNCE loss of the student on real rows.
        """
        target, rows = episode.target
        others = self.other.loss(endpoint, Episode(episode.start, target))
        return torch.cat([others, self.weight * self.task.on(endpoint, rows).unsqueeze(0)])


@outer_objectives.register("task")
class TaskObjective(OuterObjective):
    """InfoNCE loss of the trained student on real rows. It needs no experts."""

    cites: ClassVar[tuple[str, ...]] = ("mtt",)

    rows: Annotated[int, Field(ge=2)] = 512
    """Number of real training rows per outer iteration; all of them if there are fewer."""
    tau: Positive = 0.07
    """Temperature of the InfoNCE loss on real rows."""

    def bind(self, material: Material) -> TaskLoss:
        """Create the objective. `material` has the real rows on which students are scored, and their initial heads."""
        return TaskLoss(material.train, material.start, self.rows, self.tau)
