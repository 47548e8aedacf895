"""Base class of similarities: the matrix S (N x N) of targets, which synthetic rows count as matching and how much.

A similarity is a specification; its tensors live in a plain dict, which an optimiser updates and an artifact stores.
Entries are not clamped, normalised or symmetrised. A mini-batch I uses the submatrix S[I, I].
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
    """Parametrisation of S."""

    @abstractmethod
    def init(self, num_rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the CPU tensors of an initial S = I for `num_rows` rows; floating-point tensors are learned."""

    @abstractmethod
    def targets(self, tensors: Mapping[str, Tensor], batches: Int[Tensor, "*t b"]) -> Float[Tensor, "*t b b"]:
        """Return the submatrices S[I, I] of mini-batches.

        Args:
            tensors: tensors of the similarity; the result is differentiable with respect to them.
            batches: row numbers, distinct within a mini-batch, on the device of the tensors.
        """

    def fit_to(self, num_rows: int) -> Similarity:
        """Return the similarity adapted to a set of `num_rows` rows; by default unchanged."""
        return self

    def shared_rows(self, num_stored: int, num_rows: int) -> int:
        """Return the number of rows that the tensors describe: by default all rows to train on.

        Args:
            num_stored: stored rows.
            num_rows: rows to train on, views included.
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
"""Every similarity by name."""

AnySimilarity = Annotated[Similarity, similarities]
"""Type of a settings field that holds a similarity."""
