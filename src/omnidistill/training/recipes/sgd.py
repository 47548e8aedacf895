"""SGD on mini-batches of the synthetic rows, with one step size per modality.

The steps are the same as in the differentiable rollout that was used to learn the set (`training.rollout`). Students
therefore train with the number of steps and the step sizes for which the set was optimised.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor, nn

from omnidistill.core.device import device_of
from omnidistill.core.errors import InputError
from omnidistill.core.settings import Count, Seed
from omnidistill.core.streams import Streams
from omnidistill.models.heads import Heads, stack
from omnidistill.training.recipes.recipe import Recipe, StackedHeads, TrainingRows, recipes
from omnidistill.training.rollout.students import draw_batches, recipe_order, train_students


@recipes.register("sgd")
class Sgd(Recipe):
    """SGD on mini-batches of the synthetic rows."""

    per_modality: ClassVar[str | None] = "step_sizes"
    added: ClassVar[tuple[str, ...]] = ("decay_after",)

    step_sizes: tuple[float, ...]
    """Step sizes, one per modality."""
    batch_size: Count
    """Number of rows per step."""
    momentum: float = 0.0
    """Momentum of SGD."""
    weight_decay: float = 0.0
    """Weight decay of SGD."""
    decay_after: Count | None = None
    """Number of steps after which the step sizes are divided by 10. If absent, they stay constant."""
    order: Seed | None = None
    """Seed of the mini-batches, if the set was optimised for fixed mini-batches. If absent, the set was optimised for
    random mini-batches, and each student draws its own."""

    def students(
        self, start: Heads, data: TrainingRows, *, seed: int, num_runs: int, checkpoints: Sequence[int]
    ) -> Iterator[tuple[int, StackedHeads]]:
        """Train the students. If the recipe fixes the mini-batches (`order`), all students are identical."""
        trained = train_students(
            data.objective,
            start,
            data.rows,
            data.targets,
            torch.tensor(self.step_sizes, dtype=next(iter(start.values())).dtype, device="cpu"),
            batch_size=self.batch_size,
            checkpoints=checkpoints,
            generators=self._orders(seed, num_runs),
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            decay_after=self.decay_after,
        )
        for steps, heads in trained:
            yield steps, {name: matrix.expand(num_runs, -1, -1) for name, matrix in heads.items()}

    def train_modules(self, modules: Mapping[str, nn.Module], data: TrainingRows, *, seed: int) -> None:
        """Train the modules in place, with the same SGD steps and mini-batches as for heads.

        Raises:
            InputError: two modules share a parameter.
        """
        device = device_of(dict(data.rows))
        parameters = [parameter for name in data.rows for parameter in modules[name].parameters()]
        if len(set(parameters)) < len(parameters):
            raise InputError(
                "the modules share parameters, but the training recipe 'sgd' has a separate step size per modality; "
                "use the recipe 'map', or modules without shared parameters"
            )
        groups = [
            {"params": list(modules[name].parameters()), "lr": size}
            for name, size in zip(data.rows, self.step_sizes, strict=True)
        ]
        optimiser = torch.optim.SGD(groups, momentum=self.momentum, weight_decay=self.weight_decay)
        for step, indices in enumerate(self.batches(len(next(iter(data.rows.values()))), seed).to(device)):
            if step == self.decay_after:
                for group in optimiser.param_groups:
                    group["lr"] /= 10
            with torch.enable_grad():
                outputs = stack({name: modules[name](x[indices]) for name, x in data.rows.items()})
                optimiser.zero_grad()
                data.objective.value(outputs, data.targets(indices)).backward()  # type: ignore[no-untyped-call]
            optimiser.step()

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
        """Return the generators of mini-batches: one per student, or one for all if the setting `order` is given."""
        if self.order is not None:
            return [recipe_order(self.order)]
        streams = Streams(seed)
        return [streams[f"students/{run}"] for run in range(num_runs)]
