"""Target similarities S = I: every synthetic row matches only itself. Nothing is learned."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.models.similarities.similarity import Similarity, similarities


@similarities.register("identity")
class FixedIdentity(Similarity):
    """Target similarities S = I (the identity matrix), which are not learned."""

    def init(self, num_rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return an empty dict, because nothing is learned."""
        return {}

    def targets(self, tensors: Mapping[str, Tensor], batches: Int[Tensor, "*t b"]) -> Float[Tensor, "*t b b"]:
        """Return an identity matrix (b x b) for every mini-batch."""
        size = batches.shape[-1]
        return torch.eye(size, device=batches.device).expand(*batches.shape, size)
