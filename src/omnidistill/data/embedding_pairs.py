"""Pairs of vectors: embeddings of the same items by an old and by a new encoder.

Shapes: n items, p width of the old embeddings, q width of the new embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Pairs:
    """Embeddings of n items by two encoders, in float32. Row i of both tensors belongs to the same item."""

    old: Float[Tensor, "n p"]
    new: Float[Tensor, "n q"]

    def __len__(self) -> int:
        return len(self.old)

    def select(self, rows: Int[Tensor, " _"]) -> Pairs:
        """Return the pairs with these row numbers."""
        rows = rows.to(self.old.device)
        return Pairs(self.old[rows], self.new[rows])

    def centred(self, old_mean: Float[Tensor, " p"], new_mean: Float[Tensor, " q"]) -> Pairs:
        """Return the pairs after subtracting `old_mean` from the old and `new_mean` from the new embeddings."""
        return Pairs(self.old - old_mean, self.new - new_mean)

    def reversed(self) -> Pairs:
        """Return the pairs with the old and the new embeddings exchanged."""
        return Pairs(self.new, self.old)

    def to(self, device: torch.device) -> Pairs:
        """Return the pairs, moved to a device."""
        return Pairs(self.old.to(device), self.new.to(device))
