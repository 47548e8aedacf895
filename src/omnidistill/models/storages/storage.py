"""Base class of storages, which define how synthetic rows are learned, stored and loaded.

`forms` explains the conversions between learned tensors, stored tensors and training rows.
"""

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
    """Base class that defines how synthetic rows are stored, and how many training rows each stored row gives."""

    @abstractmethod
    def init(self, rows: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Tensor]:
        """Return new latent tensors that represent the given rows. Distillation learns the latent tensors."""

    @abstractmethod
    def expand(self, latent: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "_ _"]]:
        """Return the rows that students train on, as a differentiable function of the latent tensors."""

    @abstractmethod
    def store(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert latent tensors to the tensors that are saved with the set."""

    @abstractmethod
    def load(self, stored: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "_ _"]]:
        """Convert stored tensors to training rows, which are bitwise equal to the result of `expand`."""

    def empty(self, widths: Mapping[str, int], num_rows: int) -> dict[str, Tensor]:
        """Return meta tensors, which take no memory, with the shapes and types in which rows are stored.

        The default implementation assumes that sizes of stored tensors are linear in the number of rows.

        Args:
            widths: feature width p_m of each modality.
            num_rows: number of stored rows.
        """
        one, two = (
            self.store({name: torch.zeros(rows, width, device="cpu") for name, width in widths.items()})
            for rows in (1, 2)
        )
        shapes = {
            name: [
                first + (num_rows - 1) * (second - first)
                for first, second in zip(x.shape, two[name].shape, strict=True)
            ]
            for name, x in one.items()
        }
        return {name: torch.empty(shape, dtype=one[name].dtype, device="meta") for name, shape in shapes.items()}

    def rate(self, latent: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """Return the rate: how many bits per number the rows need on average. The result is differentiable.

        The default implementation returns 0, for storages whose size does not depend on the values in the rows.
        """
        return next(iter(latent.values())).new_zeros(())

    def resolved(self, num_stored: int) -> Storage:
        """Return the storage with every "auto" setting replaced by its value for a set of `num_stored` rows."""
        return self

    def num_rows(self, num_stored: int) -> int:
        """Return the number of training rows that `num_stored` stored rows give."""
        return num_stored

    @property
    def title(self) -> str:
        """Short description of the storage, which summaries and tables show."""
        return self.kind


storages: ComponentRegistry[Storage] = ComponentRegistry(
    "storage",
    Storage,  # type: ignore[type-abstract]
    {"rows": "omnidistill.models.storages.rows", "coded": "omnidistill.models.storages.coded"},
    group="omnidistill.storages",
)
"""Registry of all storages."""

AnyStorage = Annotated[Storage, storages]
"""Type for a settings field that contains a storage."""
