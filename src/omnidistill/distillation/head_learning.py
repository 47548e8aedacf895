"""Learn tensors from which heads are computed, by minimising the loss of these heads on real rows.

Let theta be the learned tensors, and W_m the head of modality m that is computed from them. The head J_m is W_m stacked
on a given initial head: the outputs of both are scaled and concatenated, with weight a for W_m (see
`training.recipes.anchor_regression.stack_on`). The problem is

    min over theta, a of  (1 - c) L(W_m x) + c L(J_m x) + mu R(theta)

L is a loss on batches of training rows x. R is the mean number of bits per stored number. c and mu are settings.

theta can be the rows of a set (`distillation.anchor_rows`), a mixing matrix from which rows are computed
(`distillation.mixture_rows`), or the heads themselves (`evaluation.baselines.direct_heads`).

Shapes: k output width of the heads, N rows, p_m feature width, b real rows per batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.models.heads import Heads, project, shared_groups, stack
from omnidistill.models.objectives import Objective
from omnidistill.models.storages import Storage
from omnidistill.training.closed_form import Moments, ridge_cca_heads
from omnidistill.training.closed_form.anchor_map import canonical_basis
from omnidistill.training.recipes.anchor_regression import stack_on

FIRST_LOGIT = 0.85
"""Initial logit of the weight a; it corresponds to a weight of 0.7."""

L = TypeVar("L", bound="LearnableHeads")


class LearnableHeads(ABC):
    """Tensors from which heads are computed.

    Attributes:
        latent: learned matrices: one per modality, or one for all. `storage` rounds them.
        storage: how the learned matrices are rounded and stored.
    """

    latent: dict[str, Tensor]
    storage: Storage

    @property
    @abstractmethod
    def weight(self) -> Float[Tensor, ""]:
        """Weight of the learned heads when their outputs are concatenated with those of the initial heads."""

    @abstractmethod
    def leaves(self) -> list[Tensor]:
        """Return the tensors to learn."""

    @abstractmethod
    def solved(self) -> tuple[dict[str, Float[Tensor, "N _"]], Heads]:
        """Return rows {modality: N x p_m} and the learned heads {modality: k x p_m}.

        The rows are needed when learned and initial heads are combined: `stack_on` first scales each head so that its
        outputs on these N rows have a mean length of 1.
        """

    @abstractmethod
    def detached(self: L) -> L:
        """Return a copy of the tensors, detached from the autograd graph."""


@dataclass(frozen=True)
class LearningSettings:
    """Settings for learning heads with Adam (see `Learning`).

    Attributes:
        outer: the loss. It compares the outputs of the heads on real rows with the target similarities of these rows.
        start_share: weight c of the loss of stacked heads, in [0, 1]. The loss of the learned heads alone has weight
            1 - c. Stacked heads concatenate the outputs of the learned and the initial heads.
        iterations: number of iterations. The learning rate falls to zero over these iterations.
        learning_rate: learning rate of Adam in the first iteration.
        real_rows: number of real rows per iteration. If there are fewer training rows, all of them are used.
        rate_weight: weight of the size penalty. The penalty is the mean number of bits per stored number.
    """

    outer: Objective
    start_share: float
    iterations: int
    learning_rate: float
    real_rows: int
    rate_weight: float = 0.0


class Learning(Generic[L]):
    """Learns heads with Adam. The learning rate falls to zero along a cosine.

    Attributes:
        learned: the tensors after the steps taken so far.
    """

    def __init__(self, first: L, train: FeatureSet, start: Heads, settings: LearningSettings, seed: int) -> None:
        """Prepare the first step.

        The initial heads in `start` are used only if `settings.start_share` is above 0.
        """
        self.learned: L = first.detached()
        self._train, self._settings = train, settings
        leaves = self.learned.leaves()
        for tensor in leaves:
            tensor.requires_grad_()
        self._start = {name: start[name] for name in train.modalities} if settings.start_share else {}
        self._objective = settings.outer.bind(train.modalities)
        self._optimiser = torch.optim.Adam(leaves, lr=settings.learning_rate)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimiser, max(1, settings.iterations))
        self._batches = _batches(len(train), settings.real_rows, Streams(seed)["anchor/batches"])

    def step(self) -> float:
        """Take one optimiser step, and return the loss before it."""
        indices = next(self._batches).to(self._train.device)
        learned, features = self._view(indices)
        with torch.enable_grad():
            loss = heads_loss(
                learned, self._start, features, self._targets(indices), self._objective, self._settings.start_share
            )
            if self._settings.rate_weight:
                loss = loss + self._settings.rate_weight * self.learned.storage.rate(self.learned.latent)
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        self._schedule.step()
        return float(loss.detach())

    def _view(self, indices: Int[Tensor, " b"]) -> tuple[L, dict[str, Float[Tensor, "b _"]]]:
        """Return the learned tensors and the real rows of a batch. A subclass can override this to augment both."""
        return self.learned, {name: x[indices] for name, x in self._train.features.items()}

    def _targets(self, indices: Int[Tensor, " b"]) -> Float[Tensor, "b b"]:
        pairing = self._train.pairing
        if pairing is not None:
            return pairing[indices][:, indices].float()
        return shared_groups(self._train.group_codes[indices])


def heads_loss(
    learned: LearnableHeads,
    start: Heads,
    features: dict[str, Float[Tensor, "b _"]],
    targets: Float[Tensor, "b b"],
    objective: Objective,
    start_share: float,
) -> Float[Tensor, ""]:
    """Return (1 - c) times the loss of the learned heads on real rows, plus c times the loss of stacked heads.

    Stacked heads concatenate the outputs of the learned and the initial heads. Both are first scaled to the same mean
    length, then multiplied by sqrt(a) and sqrt(1 - a), where a is `learned.weight` (see `stack_on`).

    Args:
        learned: the tensors from which the learned heads are computed.
        start: initial heads {modality: d x p_m}. Not used if c is 0.
        features: real rows of a batch.
        targets: target similarities of the real rows (b x b).
        objective: the loss, bound to the order of the modalities (see `Objective.bind`).
        start_share: weight c of the loss of stacked heads, in [0, 1].
    """
    rows, heads = learned.solved()
    loss = torch.zeros((), dtype=targets.dtype, device=targets.device)
    if start_share < 1:
        loss = loss + (1 - start_share) * objective.value(stack(project(heads, features)), targets)
    if start_share > 0:
        stacked = stack_on(start, heads, rows, learned.weight)
        loss = loss + start_share * objective.value(stack(project(stacked, features)), targets)
    return loss


def canonical_cca_heads(moments: Moments, rank: int, ridge: float) -> Heads:
    """Return ridge CCA heads (rank x p_m, float64), rotated to the `canonical_basis`. p_m is a feature width.

    The first output of the rotated heads has the largest cross-covariance between modalities, the last the smallest.

    Args:
        moments: means and covariances of the training rows.
        rank: output width of the heads.
        ridge: ridge of CCA, as a multiple of the mean eigenvalue of each covariance.
    """
    heads, _ = ridge_cca_heads(moments, rank, ridge, torch.float64)
    basis = canonical_basis(heads, moments)
    return {name: basis.mT @ matrix for name, matrix in heads.items()}


def _batches(num_rows: int, batch_size: int, generator: torch.Generator) -> Iterator[Int[Tensor, " b"]]:
    """Yield mini-batches of row indices without end.

    Every pass over the rows uses a new random order, and leaves out the last rows if they do not fill a mini-batch.
    """
    size = min(batch_size, num_rows)
    while True:
        order = torch.randperm(num_rows, generator=generator, device="cpu")
        for first in range(0, num_rows - size + 1, size):
            yield order[first : first + size]
