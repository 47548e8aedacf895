"""SGD on mini-batches of the synthetic rows, with one step size per modality.

The steps are the same as in the differentiable rollout that was used to learn the set (`training.rollout`). Students
therefore train with the number of steps and the step sizes for which the set was optimised.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.settings import Count, Seed
from omnidistill.core.streams import Streams
from omnidistill.models.heads import Heads
from omnidistill.models.objectives import Objective
from omnidistill.training.recipes.recipe import Recipe, StackedHeads, Targets, recipes
from omnidistill.training.rollout.students import draw_batches, recipe_order, train_students


@recipes.register("sgd")
class Sgd(Recipe):
    """SGD on mini-batches of the synthetic rows."""

    added: ClassVar[tuple[str, ...]] = ("decay_after",)

    step_sizes: tuple[float, ...]
    """Step sizes, one per modality."""
    batch_size: Count
    """Rows per step."""
    momentum: float = 0.0
    """Momentum of SGD."""
    weight_decay: float = 0.0
    """Weight decay of SGD."""
    decay_after: Count | None = None
    """Number of steps after which the step sizes are divided by 10; absent: they stay constant."""
    order: Seed | None = None
    """Seed for the fixed mini-batches for which the set was optimised; absent: the set was optimised for random
    mini-batches, and each student draws its own."""

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
        """Train the students. If the recipe has fixed mini-batches (`order`), all students are identical."""
        trained = train_students(
            objective,
            start,
            rows,
            targets,
            torch.tensor(self.step_sizes, device="cpu"),
            batch_size=self.batch_size,
            checkpoints=checkpoints,
            generators=self._orders(seed, num_runs),
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            decay_after=self.decay_after,
        )
        for steps, heads in trained:
            yield steps, {name: matrix.expand(num_runs, -1, -1) for name, matrix in heads.items()}

    def batches(self, num_rows: int, seed: int) -> Int[Tensor, "T b"]:
        """Return the row numbers (T x b) that the first student uses in each step."""
        (order,) = self._orders(seed, 1)
        return draw_batches(num_rows, self.batch_size, self.num_steps, order)

    @property
    def title(self) -> str:
        """Short description of the recipe: number of steps, rows per step and step sizes."""
        sizes = ", ".join(f"{size:.3g}" for size in self.step_sizes)
        return f"{self.num_steps} steps of {self.batch_size} rows, step sizes {sizes}"

    def _orders(self, seed: int, num_runs: int) -> list[torch.Generator]:
        """Return one random generator for mini-batches per student, or a single generator if there is an `order`."""
        if self.order is not None:
            return [recipe_order(self.order)]
        streams = Streams(seed)
        return [streams[f"students/{run}"] for run in range(num_runs)]
