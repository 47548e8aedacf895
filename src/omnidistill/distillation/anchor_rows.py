"""Synthetic rows that the method "anchor" learns, starting from a closed-form solution (see `head_learning`).

Shapes: N rows, p_m feature width, M modalities.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.distillation.head_learning import FIRST_LOGIT, LearnableHeads, canonical_cca_heads
from omnidistill.models.heads import Heads
from omnidistill.models.storages import Storage
from omnidistill.training.closed_form import Moments
from omnidistill.training.closed_form.anchor_map import anchor_lengths, anchor_maps, dual_frame, equal_lengths


@dataclass(frozen=True)
class AnchorRows(LearnableHeads):
    """Synthetic rows and settings to learn for the recipe "anchor", which computes heads from the rows.

    Attributes:
        latent: the rows before rounding, one matrix (N x p_m) per modality.
        log_ridges: logarithm of the ridge of each modality, the regularisation strength of its ridge regression.
        logit: logit of `weight`.
        storage: defines how the rows are rounded and stored.
        cutoff: the number k in the factors 1 / (1 + (i / k)^4) that scale the outputs i = 1, 2, ... of the heads. If
            None, outputs are not scaled. The cutoff is not learned.
    """

    latent: dict[str, Tensor]
    log_ridges: Float[Tensor, " M"]
    logit: Float[Tensor, ""]
    storage: Storage
    cutoff: float | None = None

    @staticmethod
    def closed_form(
        moments: Moments, size: int, cca_ridge: float, storage: Storage, device: torch.device
    ) -> AnchorRows:
        """Return initial rows: the columns of the pseudo-inverse of ridge CCA heads, scaled to equal length.

        The length is the square root of the feature width.

        Args:
            moments: means and covariances of the training rows.
            size: number of rows N.
            cca_ridge: ridge of CCA, as a multiple of the mean eigenvalue of each covariance.
            storage: defines how the rows are rounded and stored.
            device: device on which the rows are created.
        """
        heads = canonical_cca_heads(moments, size, cca_ridge)
        rows = {name: equal_lengths(x) for name, x in dual_frame(heads).items()}
        latent = storage.init({name: x.to(device, torch.float32) for name, x in rows.items()})
        log_ridges, logit = torch.zeros(len(rows), device=device), torch.tensor(FIRST_LOGIT, device=device)
        return AnchorRows(latent, log_ridges, logit, storage)

    @property
    def size(self) -> int:
        """Number of synthetic rows."""
        return len(next(iter(self.latent.values())))

    @property
    def ridges(self) -> Float[Tensor, " M"]:
        """Ridge (regularisation strength of the ridge regression) of each modality, in the order of the modalities."""
        return self.log_ridges.exp()

    @property
    def weight(self) -> Float[Tensor, ""]:
        """Weight in [0, 1] of the computed heads when their outputs are concatenated with those of initial heads."""
        return self.logit.sigmoid()

    def with_ridge(self, ridge: float) -> AnchorRows:
        """Return a copy that uses this ridge in the ridge regression of every modality."""
        return replace(self, log_ridges=torch.full_like(self.log_ridges, ridge).log())

    def with_cutoff(self, cutoff: float | None) -> AnchorRows:
        """Return a copy with this cutoff and a smaller `weight`. If `cutoff` is None, return `self`.

        `self` must not have a cutoff yet.

        A cutoff scales down the later outputs of the heads, so the lengths of their output vectors vary more. When the
        heads are stacked on initial heads, only the mean length is made equal (see `stack_on`). The computed heads
        would therefore gain influence. The smaller weight compensates for this.
        """
        if cutoff is None:
            return self
        lengths = anchor_lengths(self.size, cutoff)
        shift = float(2 * (lengths.mean() / lengths.square().mean().sqrt()).log())
        return replace(self, cutoff=cutoff, logit=self.logit + shift)

    def leaves(self) -> list[Tensor]:
        """Return the tensors to learn: the rows before rounding, the logarithms of the ridges, and `logit`.

        `logit` is the logit of the weight of the heads when they are combined with initial heads.
        """
        return [*self.latent.values(), self.log_ridges, self.logit]

    def solved(self) -> tuple[dict[str, Float[Tensor, "N _"]], Heads]:
        """Return the rounded rows, and the heads computed from them by the recipe "anchor". Both are differentiable."""
        rows = self.storage.expand(self.latent)
        return rows, anchor_maps(rows, self.ridges, self.cutoff)

    def detached(self) -> AnchorRows:
        """Return a copy of the tensors, detached from the autograd graph."""
        latent = {name: x.detach().clone() for name, x in self.latent.items()}
        return replace(
            self, latent=latent, log_ridges=self.log_ridges.detach().clone(), logit=self.logit.detach().clone()
        )
