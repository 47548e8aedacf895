"""Symmetric InfoNCE over pairs of modalities, with several positives (the loss of experts in LoRS and MTT-VL, and of
our
full-data heads).

    L = sum_{(m,n)} InfoNCE(z_m . z_n / tau, T)

Targets are affinities >= 0: identity, or 1 where two rows belong to one group; learned ones make it "soft InfoNCE".
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from omnidistill.models.objectives.pair_gradient import pair_gradient
from omnidistill.models.objectives.pairs import cosines, modality_pairs
from omnidistill.models.objectives.softmax import infonce, infonce_gradient
from omnidistill.models.objectives.sphere import normalise


@dataclass(frozen=True)
class InfoNCE:
    """Symmetric cross-entropy over all pairs of modalities, or over the pairs of one anchor modality (its index)."""

    tau: float = 0.07
    anchor: int | None = None

    def value(self, outputs: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]) -> Float[Tensor, "*r"]:
        """Loss of head outputs (not normalised) against target affinities."""
        left, right = modality_pairs(outputs.shape[-3], self.anchor, outputs.device)
        return infonce(cosines(normalise(outputs)[0], left, right), targets.unsqueeze(-3), self.tau).sum(-1)

    def gradient(
        self, outputs: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]
    ) -> Float[Tensor, "*r M b d"]:
        """dL/d outputs in closed form; itself differentiable with respect to both arguments."""
        left, right = modality_pairs(outputs.shape[-3], self.anchor, outputs.device)
        return pair_gradient(
            lambda c, wanted: infonce_gradient(c, wanted.unsqueeze(-3), self.tau),
            outputs,
            targets,
            left,
            right,
        )
