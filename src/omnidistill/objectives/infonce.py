"""Symmetric InfoNCE over pairs of modalities, with several positives (the loss of experts in LoRS and MTT-VL, and of
our full-data heads).

For each pair, with x = z_m . z_n / tau and targets T normalised to one along the softmax:

    L = sum_{(m,n)} 1/2 [ CE(rows of x, rows of T) + CE(columns of x, columns of T) ]        mean over the b queries
    dL/d(z_m . z_n)_ij = ( rowsoftmax(x)_ij - Trow_ij + colsoftmax(x)_ij - Tcol_ij ) / (2 b tau)

Targets are affinities >= 0: identity, or 1 where two rows belong to one group.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.objectives.pairs import combine, cosines, modality_pairs
from omnidistill.objectives.sphere import normalise, pull_back


@dataclass(frozen=True)
class InfoNCE:
    """Symmetric cross-entropy over all pairs of modalities, or over the pairs of one anchor modality (its index)."""

    tau: float = 0.07
    anchor: int | None = None

    def value(self, outputs: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]) -> Float[Tensor, "*r"]:
        """Loss of head outputs (not normalised) against target affinities."""
        left, right = modality_pairs(outputs.shape[-3], self.anchor, outputs.device)
        logits = cosines(normalise(outputs)[0], left, right) / self.tau
        rows, columns = _normalised(targets)
        losses = -(
            rows.unsqueeze(-3) * torch.log_softmax(logits, -1) + columns.unsqueeze(-3) * torch.log_softmax(logits, -2)
        )
        return losses.sum((-3, -2, -1)) / (2 * outputs.shape[-2])

    def gradient(
        self, outputs: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]
    ) -> Float[Tensor, "*r M b d"]:
        """dL/d outputs in closed form; itself differentiable with respect to both arguments."""
        left, right = modality_pairs(outputs.shape[-3], self.anchor, outputs.device)
        embeddings, norms = normalise(outputs)
        logits = cosines(embeddings, left, right) / self.tau
        rows, columns = _normalised(targets)
        predicted = torch.softmax(logits, -1) + torch.softmax(logits, -2)
        errors = (predicted - (rows + columns).unsqueeze(-3)) / (2 * outputs.shape[-2] * self.tau)
        return pull_back(combine(errors, embeddings, left, right), embeddings, norms)


def _normalised(targets: Tensor) -> tuple[Tensor, Tensor]:
    rows = targets / targets.sum(-1, keepdim=True).clamp_min(1e-12)
    columns = targets / targets.sum(-2, keepdim=True).clamp_min(1e-12)
    return rows, columns
