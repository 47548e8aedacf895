"""Similarity by groups: S_ij = 1 if rows i and j are in the same group and the same view, else 0. Nothing is learned.

A view is a copy of the N stored rows of a set, in which a fixed pattern changes the signs of some entries. A row has
the same group in all views. Students train on the rows of all views. Training row number v N + i is row i of view v.
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
    """Target similarities that are 1 for two rows of the same group and view, else 0. They are not learned."""

    def init(self, num_rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return initial group numbers (int32), which put every row in a separate group."""
        return {"groups": torch.arange(num_rows, dtype=torch.int32, device="cpu")}

    def targets(self, tensors: Mapping[str, Tensor], batches: Int[Tensor, "*t b"]) -> Float[Tensor, "*t b b"]:
        """Return the target similarities of each batch of rows: 1 for two rows of the same group and view, else 0.

        A view is a copy of all stored rows with some signs flipped.
        """
        groups = tensors["groups"]
        view, row = batches // len(groups), batches % len(groups)
        return shared_groups(groups[row]) * shared_groups(view)

    def shared_rows(self, num_stored: int, num_rows: int) -> int:
        """Return `num_stored`, because all views of a stored row share one group number."""
        return num_stored
