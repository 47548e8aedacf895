"""What a storage is: how synthetic rows are learned, stored and read back (see `forms` for the four steps)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.registry import ComponentRegistry
from omnidistill.core.settings import Component


class Storage(Component):
    """How rows are stored, and how many are trained on for each stored one."""

    @abstractmethod
    def init(self, rows: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Tensor]:
        """Return latent tensors, in memory of their own, that start from the given rows."""

    @abstractmethod
    def expand(self, latent: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "_ _"]]:
        """Return the rows to train on, differentiable with respect to every latent tensor."""

    @abstractmethod
    def store(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors to store."""

    @abstractmethod
    def load(self, stored: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "_ _"]]:
        """Return the rows to train on: exactly what `expand` returns for the latent tensors that were stored."""

    def resolved(self, num_stored: int) -> Storage:
        """Return the storage with every setting that depends on the number of stored rows decided."""
        return self

    def num_rows(self, num_stored: int) -> int:
        """Return how many rows are trained on."""
        return num_stored

    def row_bytes(self, width: int) -> int:
        """Return the bytes of one stored row of this width."""
        stored = self.store({"row": torch.zeros(1, width, device="cpu")})
        return sum(tensor.numel() * tensor.element_size() for tensor in stored.values())

    @property
    def title(self) -> str:
        """Short description for summaries."""
        return self.kind


storages: ComponentRegistry[Storage] = ComponentRegistry(
    "storage",
    Storage,  # type: ignore[type-abstract]
    {"rows": "omnidistill.models.storages.rows"},
    group="omnidistill.storages",
)
"""Every storage by name."""

AnyStorage = Annotated[Storage, storages]
"""Type of a settings field that holds a storage."""
