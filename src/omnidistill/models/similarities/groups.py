"""S_ij = 1 where rows i and j belong to one group, else 0: the similarity that real rows have. Nothing is learned.

Row v N + i of a set with views belongs to the v-th copy of the group of row i, so only N group numbers are stored.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.models.heads import shared_groups
from omnidistill.models.similarities.similarity import Similarity, similarities


@similarities.register("groups")
class SharedGroups(Similarity):
    """S is 1 for rows of one group and 0 elsewhere, not learned: what real rows have."""

    def init(self, num_rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return group numbers (N, int32), every row a group of its own."""
        return {"groups": torch.arange(num_rows, dtype=torch.int32)}

    def targets(self, tensors: Mapping[str, Tensor], batches: Int[Tensor, "*t b"]) -> Float[Tensor, "*t b b"]:
        """Return 1 for rows of one group, 0 for others."""
        groups = tensors["groups"]
        view, row = batches // len(groups), batches % len(groups)
        return shared_groups(groups[row]) * shared_groups(view)

    def shared_rows(self, num_stored: int, num_rows: int) -> int:
        """Return the stored rows: views of a row belong to copies of its group."""
        return num_stored
