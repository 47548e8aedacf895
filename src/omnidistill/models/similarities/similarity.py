"""Base class for similarities. The target matrix S (N x N) defines which synthetic rows match, and how strongly.

A similarity is only a specification. Its tensors are in a plain dict, which an optimiser updates and an artifact
stores. The entries of S are not clamped, normalised or symmetrised. A mini-batch with row numbers I uses the submatrix
S[I, I].
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
    """Parametrisation of the target matrix S."""

    @abstractmethod
    def init(self, num_rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return CPU tensors that represent S = I for `num_rows` rows. Floating-point tensors are learned."""

    @abstractmethod
    def targets(self, tensors: Mapping[str, Tensor], batches: Int[Tensor, "*t b"]) -> Float[Tensor, "*t b b"]:
        """Return the submatrices S[I, I] of mini-batches.

        Args:
            tensors: tensors of the similarity. The result is differentiable with respect to them.
            batches: distinct row numbers for each mini-batch, on the device of the tensors.
        """

    def fit_to(self, num_rows: int) -> Similarity:
        """Return the similarity adapted to a set with `num_rows` rows. By default it is returned unchanged."""
        return self

    def shared_rows(self, num_stored: int, num_rows: int) -> int:
        """Return the number of rows that the tensors describe. By default this is the number of training rows.

        Args:
            num_stored: number of stored rows.
            num_rows: number of training rows, including all views.
        """
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
"""Registry of all similarities."""

AnySimilarity = Annotated[Similarity, similarities]
"""Type for a settings field that contains a similarity."""
