"""Pairwise wBCE: the LoRS student loss summed over pairs of modalities (Xu et al. 2024; HoPA table 5, "3-pair",
"T-bind", "V-bind").

    L = sum_{(m,n)} wBCE(z_m . z_n / tau, S)

The same target matrix S serves every pair; S_ij speaks of row i of m against row j of n, m before n.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from omnidistill.models.objectives.pair_gradient import pair_gradient
from omnidistill.models.objectives.pairs import cosines, modality_pairs
from omnidistill.models.objectives.sphere import normalise
from omnidistill.models.objectives.wbce import Reduction, wbce, wbce_gradient


@dataclass(frozen=True)
class PairwiseWbce:
    """wBCE over all pairs of modalities, or over the pairs of one anchor modality (its index)."""

    tau: float = 0.07
    threshold: float = 0.5
    reduction: Reduction = "mean"
    anchor: int | None = None

    def value(self, outputs: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]) -> Float[Tensor, "*r"]:
        """Loss of head outputs (not normalised) against target similarities."""
        left, right = modality_pairs(outputs.shape[-3], self.anchor, outputs.device)
        similarity = cosines(normalise(outputs)[0], left, right)
        losses = wbce(similarity, targets.unsqueeze(-3).expand_as(similarity), self.tau, self.threshold, self.reduction)
        return losses.sum(-1)

    def gradient(
        self, outputs: Float[Tensor, "*r M b d"], targets: Float[Tensor, "*r b b"]
    ) -> Float[Tensor, "*r M b d"]:
        """dL/d outputs in closed form; itself differentiable with respect to both arguments."""
        left, right = modality_pairs(outputs.shape[-3], self.anchor, outputs.device)
        return pair_gradient(
            lambda c, wanted: wbce_gradient(c, wanted.unsqueeze(-3), self.tau, self.threshold, self.reduction),
            outputs,
            targets,
            left,
            right,
        )
