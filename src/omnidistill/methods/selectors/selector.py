"""What a selector is: it chooses N rows of the training set, or N averages of them, without optimising any row.

Groups take turns: no group gets another row while some other group that has rows left has fewer.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.core.registry import ComponentRegistry
from omnidistill.core.settings import Component
from omnidistill.data.featureset import FeatureSet
from omnidistill.models.heads import Heads

CHUNK_BYTES = 2**29
"""Memory that blocks of row-by-row comparisons may take at once; it changes speed and rounding, nothing else."""


@dataclass(frozen=True)
class Selection:
    """Rows {modality: N x p_m}, the code of the group of each (N), and their ids where they are real rows."""

    rows: dict[str, Float[Tensor, "_ _"]]
    group_codes: Int[Tensor, " N"]
    ids: tuple[str, ...] = ()


class Selector(Component):
    """Chooses the rows of a set."""

    uses_trajectory: ClassVar[bool] = False
    """Whether `choose` needs the heads of a training, epoch by epoch."""

    @abstractmethod
    def choose(
        self,
        train: FeatureSet,
        start: Heads,
        size: int,
        generator: torch.Generator,
        trajectory: Sequence[Heads] | None = None,
    ) -> Selection:
        """Return `size` rows.

        Args:
            train: the training rows.
            start: the heads that training begins with.
            size: rows to choose.
            generator: a CPU generator, the only source of chance; a selector that draws nothing leaves it unchanged.
            trajectory: heads after every epoch of a training, the start (epoch 0) first.

        Raises:
            InputError: a size that cannot be, heads that do not fit the features, or a missing trajectory.
        """

    def most_rows(self, train: FeatureSet) -> int:
        """Return the largest size."""
        return len(train)


class RowSelector(Selector):
    """Chooses real rows."""

    @abstractmethod
    def rows(
        self,
        train: FeatureSet,
        start: Heads,
        size: int,
        generator: torch.Generator,
        trajectory: Sequence[Heads] | None = None,
    ) -> Int[Tensor, " N"]:
        """Return `size` distinct row numbers of `train` (int64, CPU), in the order of choice where there is one."""

    def choose(
        self,
        train: FeatureSet,
        start: Heads,
        size: int,
        generator: torch.Generator,
        trajectory: Sequence[Heads] | None = None,
    ) -> Selection:
        """Return the rows of these numbers, with their groups and ids."""
        chosen = train.select(self.rows(train, start, size, generator, trajectory))
        return Selection(chosen.features, chosen.group_codes, chosen.ids)


_HERE = "omnidistill.methods.selectors"
selectors: ComponentRegistry[Selector] = ComponentRegistry(
    "selector",
    Selector,  # type: ignore[type-abstract]
    {
        "random": f"{_HERE}.random_rows",
        "herding": f"{_HERE}.herding",
        "k-center": f"{_HERE}.k_center",
        "k-medoids": f"{_HERE}.k_medoids",
        "facility-location": f"{_HERE}.facility_location",
        "agreement": f"{_HERE}.agreement",
        "aligned-k-medoids": f"{_HERE}.aligned_k_medoids",
        "el2n": f"{_HERE}.el2n",
        "grand": f"{_HERE}.grand",
        "forgetting": f"{_HERE}.forgetting",
        "craig": f"{_HERE}.craig",
        "prototypes": f"{_HERE}.prototypes",
        "group-means": f"{_HERE}.prototypes",
    },
    group="omnidistill.selectors",
)
"""Every selector by name."""

AnySelector = Annotated[Selector, selectors]
"""Type of a settings field that holds a selector."""


def check_size(size: int, available: int, what: str = "training rows") -> None:
    """Raise InputError unless 1 <= size <= available."""
    if not 1 <= size <= available:
        raise InputError(f"size {size}: there are {available} {what}; use a size from 1 to {available}")
