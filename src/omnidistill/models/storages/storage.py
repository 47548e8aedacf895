"""Base class of storages: how synthetic rows are learned, stored and loaded (see `forms` for the four conversions)."""

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
    """How rows are stored, and how many training rows each stored row gives."""

    @abstractmethod
    def init(self, rows: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Tensor]:
        """Return new latent tensors that represent the given rows."""

    @abstractmethod
    def expand(self, latent: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "_ _"]]:
        """Return the rows to train on, differentiable with respect to every latent tensor."""

    @abstractmethod
    def store(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors to store."""

    @abstractmethod
    def load(self, stored: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "_ _"]]:
        """Return the rows to train on: exactly those that `expand` returns for the latent tensors that were stored."""

    def resolved(self, num_stored: int) -> Storage:
        """Return the storage with all settings that depend on the number of stored rows set to their values."""
        return self

    def num_rows(self, num_stored: int) -> int:
        """Return the number of rows to train on."""
        return num_stored

    def row_bytes(self, width: int) -> int:
        """Return the size of one stored row of this width, in bytes."""
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
