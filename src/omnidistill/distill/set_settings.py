"""Settings that every method has: how many rows it stores, how, and what students minimise on them."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from omnidistill.core.errors import InputError
from omnidistill.core.settings import Component, Count
from omnidistill.distill.budget import check_budget
from omnidistill.models.objectives import AnyObjective, InfoNCE
from omnidistill.models.similarities import Similarity
from omnidistill.models.storages import AnyStorage, RowStorage, Storage

Budget = Annotated[str, AfterValidator(check_budget)]
"""Bytes of a set: "200000", "64kB", "1.5M", or a share of the training features, "1%"."""


class SetSettings(Component):
    """What every method that makes a set has."""

    size: Count | Budget = 100
    """Synthetic rows N that are stored; or a budget in bytes ("64kB") or in % of the training features ("1%")."""
    storage: AnyStorage = RowStorage()
    """How rows are stored; what is learned or tuned takes it into account."""
    batch_size: Annotated[int, Field(ge=2)] | None = None
    """Rows per student step, or all if the set has fewer; absent: 25 (paper) for learned rows, 128 for others."""
    student: AnyObjective = InfoNCE()
    """What students minimise on the synthetic set."""

    usual_batch: ClassVar[int] = 128

    @property
    def num_stored(self) -> int:
        """Stored rows.

        Raises:
            InputError: the size is still a budget; `with_budget` turns it into a number.
        """
        if isinstance(self.size, str):
            raise InputError(f"distill.size = {self.size!r} is a budget; the number of rows depends on the data")
        return self.size

    @property
    def resolved_storage(self) -> Storage:
        """The storage with every setting that depends on the size decided."""
        return self.storage.resolved(self.num_stored)

    @property
    def num_rows(self) -> int:
        """Rows that students train on: all views of the stored ones."""
        return self.storage.num_rows(self.num_stored)

    @property
    def batch(self) -> int:
        """The mini-batch in effect."""
        return min(self.batch_size or self.usual_batch, self.num_rows)

    @property
    def set_similarity(self) -> Similarity:
        """The similarity of the sets that the method makes."""
        raise TypeError(f"{type(self).__name__} does not say which similarity its sets have")
