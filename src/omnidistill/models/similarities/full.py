"""Target similarities S (N x N for N rows) with every entry learned, starting from the identity (ablation in LoRS)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.models.similarities.similarity import Similarity, similarities


@similarities.register("full")
class Full(Similarity):
    """Matrix S of target similarities in which every entry is learned."""

    cites: ClassVar[tuple[str, ...]] = ("lors",)

    def init(self, num_rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the N x N identity matrix."""
        return {"matrix": torch.eye(num_rows, device="cpu")}

    def targets(self, tensors: Mapping[str, Tensor], batches: Int[Tensor, "*t b"]) -> Float[Tensor, "*t b b"]:
        """Return the target similarities S[I, I] of each mini-batch with row indices I."""
        return tensors["matrix"][batches.unsqueeze(-1), batches.unsqueeze(-2)]
