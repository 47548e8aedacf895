"""Target similarities S = diag(a): each of the N rows matches only itself, with a learned weight (ablation in LoRS)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.models.similarities.similarity import Similarity, similarities


@similarities.register("diagonal")
class Diagonal(Similarity):
    """Diagonal matrix of target similarities, S = diag(a), with a learned vector a."""

    cites: ClassVar[tuple[str, ...]] = ("lors",)

    def init(self, num_rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the initial vector a: one value of 1 per row, so S = diag(a) is the identity."""
        return {"diagonal": torch.ones(num_rows, device="cpu")}

    def targets(self, tensors: Mapping[str, Tensor], batches: Int[Tensor, "*t b"]) -> Float[Tensor, "*t b b"]:
        """Return the target similarities of each mini-batch: diag(a[I]) for the row indices I.

        The vector a contains one learned weight per row of the set.
        """
        return torch.diag_embed(tensors["diagonal"][batches])
