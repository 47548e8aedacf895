"""Base class of recipes: how students are trained on a synthetic set. A recipe is stored with its set (`SetSpec`)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated

from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from omnidistill.core.registry import ComponentRegistry
from omnidistill.core.settings import Component
from omnidistill.models.heads import Heads
from omnidistill.models.objectives import Objective

Targets = Callable[[Int[Tensor, "*t b"]], Float[Tensor, "*t b b"]]
"""Function that takes the row numbers of mini-batches and returns their target similarities."""
StackedHeads = dict[str, Float[Tensor, "_ _ _"]]
"""Heads of R students, {modality: R x d x p_m}."""


class Recipe(Component):
    """How to train heads on a set."""

    num_steps: Annotated[int, Field(ge=0)]
    """Number of training steps."""

    @abstractmethod
    def students(
        self,
        objective: Objective,
        start: Heads,
        rows: Mapping[str, Float[Tensor, "_ _"]],
        targets: Targets,
        *,
        seed: int,
        num_runs: int,
        checkpoints: Sequence[int],
    ) -> Iterator[tuple[int, StackedHeads]]:
        """Train several students at once; yield (number of steps done, heads) at every checkpoint.

        Args:
            objective: the loss of the students.
            start: initial heads {modality: d x p_m}. Training uses the device of these heads.
            rows: synthetic rows {modality: N x p_m}, on this device.
            targets: function that returns the target similarities of mini-batches, given the row numbers of the
                mini-batches on this device.
            seed: seed for the mini-batches.
            num_runs: number of students R.
            checkpoints: numbers of steps after which to yield the heads, in ascending order.
        """

    @abstractmethod
    def batches(self, num_rows: int, seed: int) -> Int[Tensor, "T b"]:
        """Return the row numbers (T x b, on the CPU) that the first student with this seed uses in each step."""

    @property
    def title(self) -> str:
        """Short description of the recipe for summaries."""
        return f"{self.kind}, {self.num_steps} steps"


recipes: ComponentRegistry[Recipe] = ComponentRegistry(
    "recipe",
    Recipe,  # type: ignore[type-abstract]
    {"sgd": "omnidistill.training.recipes.sgd"},
    group="omnidistill.recipes",
)
"""Registry of all recipes."""

AnyRecipe = Annotated[Recipe, recipes]
"""Type for a settings field that contains a recipe."""
