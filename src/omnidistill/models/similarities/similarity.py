"""Base class for similarities. The target matrix S (N x N) defines which synthetic rows match, and how strongly.

A similarity object defines how S is computed from tensors, but does not contain the tensors. The caller keeps them in a
dict, which is learned and stored with the set. S is not clamped, normalised or symmetrised. A mini-batch with row
indices I uses the submatrix S[I, I].
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
    """Base class for parametrisations of the target matrix S."""

    @abstractmethod
    def init(self, num_rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return initial tensors on the CPU, for which S is the identity. Floating-point tensors are learned."""

    @abstractmethod
    def targets(self, tensors: Mapping[str, Tensor], batches: Int[Tensor, "*t b"]) -> Float[Tensor, "*t b b"]:
        """Return the target similarities of every mini-batch: the submatrix S[I, I] of the target matrix S.

        Args:
            tensors: tensors from which S is computed. The result is differentiable with respect to them.
            batches: row indices I of every mini-batch, without repetitions, on the device of the tensors.
        """

    def fit_to(self, num_rows: int) -> Similarity:
        """Return a similarity that fits a set with `num_rows` rows. The default implementation returns self."""
        return self

    def shared_rows(self, num_stored: int, num_rows: int) -> int:
        """Return the number of rows to pass to `init`. The default implementation returns `num_rows`.

        A subclass returns `num_stored` if its tensors have one entry per stored row, such as a group number, and the
        copies derived from a stored row share this entry.

        Args:
            num_stored: number of stored rows of the set.
            num_rows: number of training rows, which are the stored rows and copies derived from them.
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
