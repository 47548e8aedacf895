"""Settings that all distillation methods share: number of rows, storage, and the students' batch size and loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from omnidistill.core.errors import InputError
from omnidistill.core.settings import Component, Count
from omnidistill.distillation.budget import check_budget
from omnidistill.distillation.set_spec import SetSpec
from omnidistill.models.objectives import AnyObjective, InfoNCE
from omnidistill.models.similarities import Similarity
from omnidistill.models.storages import AnyStorage, RowStorage, Storage
from omnidistill.training.recipes import Recipe, Sgd

Budget = Annotated[str, AfterValidator(check_budget)]
"""Size of the files of a set in bytes ("200000", "64kB", "1.5M"), or in percent of the bytes of the training features
("1%")."""


class SetSettings(Component):
    """Settings that all distillation methods share: size and storage of the set, and how students train on it."""

    size: Count | Budget = 100
    """Number N of stored synthetic rows, or a budget for all files that a receiver needs to train: in bytes ("64kB"),
    or in percent of the bytes of the training features ("1%")."""
    storage: AnyStorage = RowStorage()
    """How synthetic rows are stored. The rounding of the storage is taken into account when rows are learned and
    training recipes are chosen."""
    batch_size: Annotated[int, Field(ge=2)] | None = None
    """Number of synthetic rows per training step of a student; all rows if the set has fewer. If absent, 25 (as in the
    HoPA paper) for learned rows, and 128 for other rows."""
    student: AnyObjective = InfoNCE()
    """Loss that students minimise on the synthetic set."""

    usual_batch: ClassVar[int] = 128

    @property
    def num_stored(self) -> int:
        """Number of stored rows.

        Raises:
            InputError: the size is a budget (bytes or percent), which must first be converted to a number of rows.
        """
        if isinstance(self.size, str):
            raise InputError(
                f"distill.size = {self.size!r} is a size budget, but a number of rows is needed here; set "
                "distill.size to a number of rows, such as 100"
            )
        return self.size

    @property
    def resolved_storage(self) -> Storage:
        """How rows are stored, with concrete values for the settings that depend on the number of rows."""
        return self.storage.resolved(self.num_stored)

    @property
    def num_rows(self) -> int:
        """Number of rows that students train on: the stored rows, and all rows that the storage derives from them."""
        return self.storage.num_rows(self.num_stored)

    @property
    def batch(self) -> int:
        """Number of rows per mini-batch of a student, which is at most the number of rows to train on."""
        return min(self.batch_size or self.usual_batch, self.num_rows)

    def spec(self, widths: Mapping[str, int]) -> SetSpec:
        """Return the specification of the sets that the method produces.

        It contains a placeholder for the training recipe, which must be replaced.
        """
        recipe = self.placeholder_recipe(len(widths))
        return SetSpec(dict(widths), self.num_stored, self.resolved_storage, self.set_similarity, self.student, recipe)

    def placeholder_recipe(self, num_modalities: int) -> Recipe:
        """Return a training recipe of the kind that the method produces.

        Its values (such as step sizes) are placeholders until the method has chosen the real ones.
        """
        return Sgd(step_sizes=(1.0,) * num_modalities, num_steps=1, batch_size=self.batch)

    @property
    def set_similarity(self) -> Similarity:
        """Kind of target similarity in the sets that the method produces."""
        raise TypeError(f"{type(self).__name__} does not define set_similarity")
