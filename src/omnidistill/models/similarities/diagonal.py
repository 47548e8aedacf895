"""S = diag(a): each row matches only itself, with a learned weight. S has N parameters (an ablation in LoRS)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.models.similarities.similarity import Similarity, similarities


@similarities.register("diagonal")
class Diagonal(Similarity):
    """Diagonal similarity matrix S = diag(a) with a learned vector a."""

    cites: ClassVar[tuple[str, ...]] = ("lors",)

    def init(self, num_rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the vector a (N values), all ones."""
        return {"diagonal": torch.ones(num_rows, device="cpu")}

    def targets(self, tensors: Mapping[str, Tensor], batches: Int[Tensor, "*t b"]) -> Float[Tensor, "*t b b"]:
        """Return diag(a_I) for each mini-batch, where I are its row numbers."""
        return torch.diag_embed(tensors["diagonal"][batches])
