"""Rows that are learned through the recipe "anchor": their closed form at the start, and the iterations of Adam.

Shapes: N rows, p_m feature width, M modalities, b real rows per batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.models.heads import Heads, project, shared_groups, stack
from omnidistill.models.objectives import Objective
from omnidistill.models.storages import Storage
from omnidistill.training.closed_form import Moments, ridge_cca_heads
from omnidistill.training.closed_form.anchor_map import anchor_maps, canonical_basis, dual_frame
from omnidistill.training.recipes.anchor_regression import stack_on

if TYPE_CHECKING:
    from omnidistill.methods.anchor import AnchorMethod


@dataclass(frozen=True)
class AnchorRows:
    """Latent rows with the settings of the recipe.

    Attributes:
        latent: latent tensors of the storage; one matrix (N x p_m) per modality.
        log_ridges: logarithms of the ridges (M).
        logit: logit of the weight in stacked heads, a scalar.
        storage: how rows are rounded.
    """

    latent: dict[str, Tensor]
    log_ridges: Float[Tensor, " M"]
    logit: Float[Tensor, ""]
    storage: Storage

    @staticmethod
    def closed_form(
        moments: Moments, size: int, cca_ridge: float, storage: Storage, device: torch.device
    ) -> AnchorRows:
        """Return the dual frame of ridge CCA heads in their canonical basis, with rows of length sqrt(p_m).

        Args:
            moments: moments of the training rows.
            size: number of rows N.
            cca_ridge: ridge of CCA.
            storage: how rows are rounded.
            device: device of the rows.
        """
        heads, _ = ridge_cca_heads(moments, size, cca_ridge, torch.float64)
        basis = canonical_basis(heads, moments)
        rows = {name: _unit(x) for name, x in dual_frame({name: basis.mT @ w for name, w in heads.items()}).items()}
        latent = storage.init({name: x.to(device, torch.float32) for name, x in rows.items()})
        zeros = torch.zeros(len(rows) + 1, device=device)
        return AnchorRows(latent, zeros[:-1], zeros[-1] + _LOGIT, storage)

    @property
    def ridges(self) -> Float[Tensor, " M"]:
        """Ridges, in the order of the modalities."""
        return self.log_ridges.exp()

    @property
    def weight(self) -> Float[Tensor, ""]:
        """Weight of the rows' heads when they are stacked on initial heads."""
        return self.logit.sigmoid()

    def with_ridge(self, ridge: float) -> AnchorRows:
        """Return the same rows with this ridge for every modality."""
        return replace(self, log_ridges=torch.full_like(self.log_ridges, ridge).log())

    def solved(self) -> tuple[dict[str, Float[Tensor, "N _"]], Heads]:
        """Return the rounded rows and the heads that the recipe computes from them; both are differentiable."""
        rows = self.storage.expand(self.latent)
        return rows, anchor_maps(rows, self.ridges)

    def detached(self) -> AnchorRows:
        """Return a copy without gradients."""
        latent = {name: x.detach().clone() for name, x in self.latent.items()}
        return replace(
            self, latent=latent, log_ridges=self.log_ridges.detach().clone(), logit=self.logit.detach().clone()
        )


def anchor_loss(
    rows: AnchorRows,
    start: Heads,
    features: dict[str, Float[Tensor, "b _"]],
    targets: Float[Tensor, "b b"],
    objective: Objective,
    start_share: float,
) -> Float[Tensor, ""]:
    """Return the loss of the heads on real rows, mixed with the loss of the heads stacked on the initial heads.

    Args:
        rows: the rows to learn.
        start: initial heads {modality: d x p_m}.
        features: real rows of a batch.
        targets: affinities of the real rows.
        objective: the loss, bound to the modalities.
        start_share: share of the loss on stacked heads, in [0, 1].
    """
    expanded, heads = rows.solved()
    loss = torch.zeros((), dtype=targets.dtype, device=targets.device)
    if start_share < 1:
        loss = loss + (1 - start_share) * objective.value(stack(project(heads, features)), targets)
    if start_share > 0:
        stacked = stack_on(start, heads, expanded, rows.weight)
        loss = loss + start_share * objective.value(stack(project(stacked, features)), targets)
    return loss


class Learning:
    """Adam on rows, ridges and weight, with a learning rate that falls to zero along a cosine."""

    def __init__(self, first: AnchorRows, train: FeatureSet, start: Heads, settings: AnchorMethod, seed: int) -> None:
        copied = first.detached()
        for tensor in (*copied.latent.values(), copied.log_ridges, copied.logit):
            tensor.requires_grad_()
        self.rows, self._train, self._settings = copied, train, settings
        self._start = {name: start[name] for name in train.modalities}
        self._objective = settings.outer.bind(train.modalities)
        parameters = [*copied.latent.values(), copied.log_ridges, copied.logit]
        self._optimiser = torch.optim.Adam(parameters, lr=settings.learning_rate)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimiser, max(1, settings.iterations))
        self._batches = _batches(len(train), settings.real_rows, Streams(seed)["anchor/batches"])

    def step(self) -> float:
        """Take one step and return the loss before it."""
        indices = next(self._batches).to(self._train.device)
        features = {name: x[indices] for name, x in self._train.features.items()}
        with torch.enable_grad():
            loss = anchor_loss(
                self.rows, self._start, features, self._targets(indices), self._objective, self._settings.start_share
            )
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        self._schedule.step()
        return float(loss.detach())

    def _targets(self, indices: Int[Tensor, " b"]) -> Float[Tensor, "b b"]:
        pairing = self._train.pairing
        if pairing is not None:
            return pairing[indices][:, indices].float()
        return shared_groups(self._train.group_codes[indices])


def _batches(num_rows: int, batch_size: int, generator: torch.Generator) -> Iterator[Int[Tensor, " b"]]:
    """Yield slices of a random order, which is redrawn when too few rows remain."""
    size = min(batch_size, num_rows)
    while True:
        order = torch.randperm(num_rows, generator=generator, device="cpu")
        for first in range(0, num_rows - size + 1, size):
            yield order[first : first + size]


def _unit(rows: Float[Tensor, "N p"]) -> Float[Tensor, "N p"]:
    """Return the rows scaled to length sqrt(p); rows of zeros stay zero."""
    lengths = rows.norm(dim=1, keepdim=True)
    return rows * torch.where(lengths > 0, rows.shape[1] ** 0.5 / lengths, torch.zeros_like(lengths))


_LOGIT = 0.85  # weight 0.7
