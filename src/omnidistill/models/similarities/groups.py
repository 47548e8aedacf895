"""S_ij = 1 where rows i and j are in the same group, else 0: the similarity of real rows. Nothing is learned.

Row v N + i of a set with views is in the v-th copy of the group of row i, so only N group numbers are stored.
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
    """S is 1 within a group and 0 elsewhere, as for real rows; not learned."""

    def init(self, num_rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return group numbers (N, int32) that put every row in a group of its own."""
        return {"groups": torch.arange(num_rows, dtype=torch.int32, device="cpu")}

    def targets(self, tensors: Mapping[str, Tensor], batches: Int[Tensor, "*t b"]) -> Float[Tensor, "*t b b"]:
        """Return 1 for pairs of rows in the same group and the same view, 0 for others."""
        groups = tensors["groups"]
        view, row = batches // len(groups), batches % len(groups)
        return shared_groups(groups[row]) * shared_groups(view)

    def shared_rows(self, num_stored: int, num_rows: int) -> int:
        """Return the number of stored rows; the groups of all views follow from the groups of these rows."""
        return num_stored
