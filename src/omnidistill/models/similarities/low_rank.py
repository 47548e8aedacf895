"""Target similarities S = diag(a) + (alpha / r) L R^T, learned by LoRS ("similarity mining", Xu et al. 2024) and HoPA.

L and R are N x r matrices, and alpha is a fixed scale. The initial values a = 1, L ~ N(0, 1) and R = 0 give S = I. S
has N (1 + 2 r) parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.core.settings import Count
from omnidistill.models.similarities.similarity import Similarity, similarities


@similarities.register("low-rank")
class LowRank(Similarity):
    """Target similarities S = diag(a) + (alpha / rank) L R^T, where alpha is a fixed scale.

    For N rows, the vector a (N) and the matrices L and R (N x rank) are learned.
    """

    cites: ClassVar[tuple[str, ...]] = ("lors",)

    rank: Count = 10
    """Number of columns of the factors L and R; at most the number of synthetic rows."""
    alpha: float = 1.0
    """Scale alpha of the low-rank part (alpha / rank) L R^T."""

    def init(self, num_rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return initial values of a (N), L and R (N x r). They give S = diag(a) + (alpha / r) L R^T = I."""
        if self.rank > num_rows:
            raise InputError(
                f"similarity.rank = {self.rank} exceeds the {num_rows} synthetic rows; use at most {num_rows}"
            )
        return {
            "diagonal": torch.ones(num_rows, device="cpu"),
            "left": torch.randn(num_rows, self.rank, generator=generator, device="cpu"),
            "right": torch.zeros(num_rows, self.rank, device="cpu"),
        }

    def targets(self, tensors: Mapping[str, Tensor], batches: Int[Tensor, "*t b"]) -> Float[Tensor, "*t b b"]:
        """Return the target similarities S[I, I] of each mini-batch with row indices I, without computing all of S."""
        left, right = tensors["left"][batches], tensors["right"][batches]
        return torch.diag_embed(tensors["diagonal"][batches]) + (self.alpha / self.rank) * (left @ right.mT)

    def fit_to(self, num_rows: int) -> LowRank:
        """Return a copy whose rank is at most the number of rows."""
        return self.evolve(rank=min(self.rank, num_rows))
