"""What a similarity is: the matrix S (N x N) that says which synthetic rows count as matching, and how much.

A similarity is a specification; its tensors live in a plain dict, so that an optimiser or an artifact can hold them.
Entries are not clamped, normalised or made symmetric. A mini-batch I uses the submatrix S[I, I].
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.registry import ComponentRegistry
from omnidistill.core.settings import Component


class Similarity(Component):
    """How S is stored and read."""

    @abstractmethod
    def init(self, num_rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the tensors of a fresh S = I over `num_rows` rows; those of floating point are learned."""

    @abstractmethod
    def targets(self, tensors: Mapping[str, Tensor], batches: Int[Tensor, "*t b"]) -> Float[Tensor, "*t b b"]:
        """Return the submatrices S[I, I] of mini-batches of distinct row indices, differentiable by the tensors."""

    def fit_to(self, num_rows: int) -> Similarity:
        """Return the closest similarity that a set of `num_rows` rows can have; most fit any number."""
        return self

    def shared_rows(self, num_stored: int, num_rows: int) -> int:
        """Return over how many rows the tensors are kept: all that are trained on, unless the kind says otherwise."""
        return num_rows


similarities: ComponentRegistry[Similarity] = ComponentRegistry(
    "similarity",
    Similarity,  # type: ignore[type-abstract]
    {
        "identity": "omnidistill.models.similarities.identity",
        "low-rank": "omnidistill.models.similarities.low_rank",
        "diagonal": "omnidistill.models.similarities.diagonal",
        "full": "omnidistill.models.similarities.full",
        "groups": "omnidistill.models.similarities.groups",
    },
    group="omnidistill.similarities",
)
"""Every similarity by name."""

AnySimilarity = Annotated[Similarity, similarities]
"""Type of a settings field that holds a similarity."""
