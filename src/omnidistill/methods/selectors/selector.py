"""Base classes of selectors, which choose N training rows, or N averages of training rows, without optimising any row.

Selected rows are spread evenly over the groups: the next row comes from a group that has contributed the fewest rows.
Groups without remaining rows are skipped.
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


@dataclass(frozen=True)
class Selection:
    """Rows that a selector has chosen: real rows, or averages of real rows.

    Attributes:
        rows: {modality: N x p_m}, for N rows and feature width p_m.
        group_codes: group of each row (N).
        ids: ids of the rows if they are real rows, otherwise empty.
    """

    rows: dict[str, Float[Tensor, "_ _"]]
    group_codes: Int[Tensor, " N"]
    ids: tuple[str, ...] = ()


class Selector(Component):
    """Base class of selectors, which choose real rows, or averages of real rows, as the synthetic set."""

    uses_trajectory: ClassVar[bool] = False
    """Whether the selector needs an expert trajectory: the heads after every epoch of training on real rows."""

    @abstractmethod
    def choose(
        self,
        train: FeatureSet,
        start: Heads,
        size: int,
        generator: torch.Generator,
        trajectory: Sequence[Heads] | None = None,
    ) -> Selection:
        """Choose `size` rows.

        Args:
            train: the training rows.
            start: the initial heads.
            size: number of rows to choose.
            generator: a CPU generator, the only source of randomness; deterministic selectors leave it unchanged.
            trajectory: heads after every epoch of an expert's training, starting with the initial heads (epoch 0).

        Raises:
            InputError: the size is out of range, the heads do not fit the features, or a required trajectory is
                missing.
        """

    def most_rows(self, train: FeatureSet) -> int:
        """Return the largest number of rows that the selector can choose from these training rows."""
        return len(train)


class RowSelector(Selector):
    """Base class of selectors that choose real rows."""

    @abstractmethod
    def rows(
        self,
        train: FeatureSet,
        start: Heads,
        size: int,
        generator: torch.Generator,
        trajectory: Sequence[Heads] | None = None,
    ) -> Int[Tensor, " N"]:
        """Return the indices of `size` distinct rows of `train` (int64, CPU), in order of selection if there is one."""

    def choose(
        self,
        train: FeatureSet,
        start: Heads,
        size: int,
        generator: torch.Generator,
        trajectory: Sequence[Heads] | None = None,
    ) -> Selection:
        """Select rows with the method `rows`, and return them with their groups and ids."""
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
"""All selectors, by name."""

AnySelector = Annotated[Selector, selectors]
"""Type of a settings field that holds a selector."""


def check_size(size: int, available: int, what: str = "training rows") -> None:
    """Raise InputError unless `size` is at least 1 and at most the available number."""
    if not 1 <= size <= available:
        raise InputError(f"size is {size}, but there are {available} {what}; use a size from 1 to {available}")
