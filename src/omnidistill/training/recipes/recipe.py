"""Base class of recipes. A recipe trains models on a synthetic set, and is stored with this set (`SetSpec`).

    sgd      SGD on mini-batches, from given initial heads
    anchor   ridge regression in closed form, from row i of every modality to its anchor, a multiple of unit vector i
    map      trains torch modules to give the same outputs as the heads of `anchor`

Shapes: N rows, p_m feature width, d embedding width, R students, b rows per step.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from omnidistill.core.errors import InputError
from omnidistill.core.registry import ComponentRegistry
from omnidistill.core.settings import Component
from omnidistill.models.heads import Heads
from omnidistill.models.objectives import Objective

Targets = Callable[[Int[Tensor, "*t b"]], Float[Tensor, "*t b b"]]
"""Function that takes the row numbers of mini-batches and returns their target similarities."""
StackedHeads = dict[str, Float[Tensor, "_ _ _"]]
"""Heads of R students, {modality: R x d x p_m}."""


@dataclass(frozen=True)
class TrainingRows:
    """Rows of a set, with the targets and the loss for training on them.

    Attributes:
        rows: synthetic rows {modality: N x p_m}.
        targets: function that takes the row numbers of mini-batches and returns their target similarities.
        objective: the loss of the students.
    """

    rows: Mapping[str, Float[Tensor, "_ _"]]
    targets: Targets
    objective: Objective


class Recipe(Component):
    """Base class of recipes, which train models on a synthetic set."""

    per_modality: ClassVar[str | None] = None
    """Name of the setting of the recipe that has one value per modality; None if there is no such setting."""

    num_steps: Annotated[int, Field(ge=0)]
    """Number of training steps; 0 for a solution in closed form."""

    @property
    def uses_start(self) -> bool:
        """Whether the result of `students` depends on the initial heads."""
        return True

    def without_start(self) -> Recipe | None:
        """Return a variant that ignores the initial heads; None if the recipe requires them or already ignores them."""
        return None

    @abstractmethod
    def students(
        self, start: Heads, data: TrainingRows, *, seed: int, num_runs: int, checkpoints: Sequence[int]
    ) -> Iterator[tuple[int, StackedHeads]]:
        """Train several students at once; yield (number of steps done, heads) at every checkpoint.

        Args:
            start: initial heads {modality: d x p_m}. Training runs on the device of these tensors.
            data: rows, targets and objective, on the same device.
            seed: seed for the mini-batches.
            num_runs: number of students R.
            checkpoints: numbers of steps after which to yield the heads, in ascending order.
        """

    def heads(self, data: TrainingRows, width: int | None = None) -> Heads:
        """Train heads on the set, without using initial heads, and return the trained heads.

        Args:
            data: rows, targets and objective.
            width: embedding width d; None: the number of rows.

        Raises:
            InputError: the recipe needs initial heads.
        """
        raise InputError(
            f"training recipe '{self.kind}' needs initial heads; pass them, or use a set with the recipe 'anchor'"
        )

    def stacked(self, start: Heads, data: TrainingRows, width: int | None = None) -> Heads:
        """Train heads on the set, and return them stacked on the initial heads: the outputs of both are concatenated.

        Args:
            start: initial heads {modality: d x p_m}.
            data: rows, targets and objective.
            width: output width of the result; None: the default width of the recipe.

        Raises:
            InputError: the recipe trains the initial heads themselves, so it keeps their output width.
        """
        raise InputError(
            f"width: training recipe '{self.kind}' keeps the output width of the given heads; omit this argument"
        )

    @abstractmethod
    def train_modules(self, modules: Mapping[str, nn.Module], data: TrainingRows, *, seed: int) -> None:
        """Train torch modules in place; each maps rows of one modality (b x p_m) to outputs (b x d).

        Args:
            modules: one module per modality, on the device of the rows.
            data: rows, targets and objective.
            seed: seed for mini-batches and noise.
        """

    def batches(self, num_rows: int, seed: int) -> Int[Tensor, "T b"]:
        """Return the row numbers (T x b) that the first student uses in each step, on the CPU.

        Raises:
            InputError: the recipe uses all rows at once.
        """
        raise InputError(
            f"training recipe '{self.kind}' has no mini-batches, because it uses all rows at once; call rows() of the "
            "synthetic set instead of batches()"
        )

    def check(self, modalities: Collection[str]) -> None:
        """Check that a setting with one value per modality has as many values as the set has modalities.

        The class attribute `per_modality` is the name of this setting, such as "step_sizes" for the recipe "sgd". If it
        is None, the recipe has no such setting, and nothing is checked.

        Raises:
            InputError: the number of values is wrong.
        """
        values = getattr(self, self.per_modality) if self.per_modality else modalities
        if len(values) != len(modalities):
            raise InputError(
                f"recipe.{self.per_modality} has {len(values)} values, but the synthetic set has {len(modalities)} "
                f"modalities ({', '.join(modalities)}); give one value per modality"
            )

    @property
    def title(self) -> str:
        """Short description of the recipe, such as "sgd, 8 steps"."""
        return f"{self.kind}, {self.num_steps} steps"


recipes: ComponentRegistry[Recipe] = ComponentRegistry(
    "recipe",
    Recipe,  # type: ignore[type-abstract]
    {
        "sgd": "omnidistill.training.recipes.sgd",
        "anchor": "omnidistill.training.recipes.anchor_regression",
        "map": "omnidistill.training.recipes.map_regression",
    },
    group="omnidistill.recipes",
)
"""Registry of all recipes."""

AnyRecipe = Annotated[Recipe, recipes]
"""Type for a settings field that contains a recipe."""
