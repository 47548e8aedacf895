"""What a recipe is: how a model is trained on a synthetic set. It is part of the set (see `distill.set_spec`)."""

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
"""Row numbers of mini-batches -> their target similarities."""
StackedHeads = dict[str, Float[Tensor, "_ _ _"]]
"""{modality: R x d x p_m}."""


class Recipe(Component):
    """How to train heads on a set."""

    num_steps: Annotated[int, Field(ge=0)]
    """Training steps."""

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
        """Train `num_runs` students at once; yield (steps done, heads) at every checkpoint (ascending)."""

    @abstractmethod
    def batches(self, num_rows: int, seed: int) -> Int[Tensor, "T b"]:
        """Return the row numbers of every step of the student that `seed` trains."""

    @property
    def title(self) -> str:
        """Short description for summaries."""
        return f"{self.kind}, {self.num_steps} steps"


recipes: ComponentRegistry[Recipe] = ComponentRegistry(
    "recipe",
    Recipe,  # type: ignore[type-abstract]
    {"sgd": "omnidistill.training.recipes.sgd"},
    group="omnidistill.recipes",
)
"""Every recipe by name."""

AnyRecipe = Annotated[Recipe, recipes]
"""Type of a settings field that holds a recipe."""
