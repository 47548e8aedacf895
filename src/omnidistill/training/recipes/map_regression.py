"""Train torch modules to give the same outputs as the linear heads that the recipe "anchor" computes.

For each modality m, let X_m (N x p_m) be the rows of the set, W_m the head that "anchor" computes from them, and f_m
the module. The inputs x in training are random mixtures of the rows and noise:

    x = sqrt(mu) c X_m + sqrt(1 - mu) r e

    mu    share of the variance of x that comes from the rows (setting `mixture`)
    c     N random numbers from a normal distribution with variance 1/N
    r     root mean square of the entries of X_m
    e     p_m random numbers from a normal distribution with variance 1

The loss is mean || f_m(x) - W_m x ||^2 / mean || W_m x ||^2.

A network trained only on the N rows would reproduce W_m on these rows, but its outputs for other inputs would be
arbitrary. With mu = 0, inputs are pure noise, and the rows are used only to compute W_m and r.

Shapes: N rows, p_m feature width, d embedding width, b inputs per step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from omnidistill.core.settings import Count, Positive
from omnidistill.core.streams import Streams
from omnidistill.models.heads import Heads, check_modules
from omnidistill.training.closed_form.anchor_map import anchor_maps, to_width
from omnidistill.training.recipes.recipe import Recipe, StackedHeads, TrainingRows, recipes


@recipes.register("map")
class MapRegression(Recipe):
    """Trains any torch modules by regression to the heads of the recipe "anchor", on mixtures of rows and noise."""

    per_modality: ClassVar[str | None] = "ridges"

    ridges: Annotated[tuple[Positive, ...], Field(min_length=1)]
    """Ridge of each modality for the heads of the recipe "anchor", which modules learn to reproduce."""
    cutoff: Positive | None = None
    """Cutoff of the heads of the recipe "anchor": the index of the output that counts half. If absent, all outputs
    count alike."""
    num_steps: Annotated[int, Field(ge=0)] = 600
    """Number of steps of AdamW."""
    learning_rate: Positive = 2e-3
    """Initial learning rate of AdamW. It decreases to zero along a cosine."""
    batch_size: Count = 256
    """Number of inputs per step. Each input is a random mixture of rows and noise."""
    mixture: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the variance of a training input that comes from the rows of the set; the rest is noise."""

    def students(
        self, start: Heads, data: TrainingRows, *, seed: int, num_runs: int, checkpoints: Sequence[int]
    ) -> Iterator[tuple[int, StackedHeads]]:
        """Train linear heads, starting from `start`, and yield (number of steps, heads) at every checkpoint.

        Heads are trained in the same way as modules (`train_modules`). Training ends after `num_steps` steps, so all
        later checkpoints have the same heads.
        """
        runs = [_linear(start) for _ in range(num_runs)]
        heads = self._heads(data, width=len(next(iter(start.values()))))
        walks = [self._steps(modules, heads, data.rows, seed=seed, run=run) for run, modules in enumerate(runs)]
        done = 0
        for checkpoint in checkpoints:
            for walk in walks:
                for _ in range(done, checkpoint):
                    next(walk, None)
            done = checkpoint
            yield done, {name: torch.stack([_weight(run[name]) for run in runs]) for name in start}

    def train_modules(self, modules: Mapping[str, nn.Module], data: TrainingRows, *, seed: int) -> None:
        """Train the modules in place, by regression to the heads that the recipe "anchor" computes from the rows.

        These heads have the same output width as the modules.
        """
        width = check_modules(modules, {name: x.shape[1] for name, x in data.rows.items()})
        for _ in self._steps(modules, self._heads(data, width), data.rows, seed=seed):
            pass

    def train_towards(
        self,
        modules: Mapping[str, nn.Module],
        heads: Heads,
        rows: Mapping[str, Float[Tensor, "N _"]] | None = None,
        *,
        seed: int,
    ) -> None:
        """Train the modules in place by regression to given heads instead of the heads of the recipe "anchor".

        Args:
            modules: one module per modality, on the device of the heads.
            heads: target heads {modality: k x p_m}. They are converted to the output width of the modules.
            rows: rows {modality: N x p_m} that are mixed with noise. With None, all inputs are standard normal noise.
            seed: seed for mixtures and noise.
        """
        width = check_modules(modules, {name: matrix.shape[1] for name, matrix in heads.items()})
        recipe = self if rows is not None else self.evolve(mixture=0.0)
        inputs = rows or {name: torch.ones_like(matrix[:1]) for name, matrix in heads.items()}
        for _ in recipe._steps(modules, to_width(heads, width), inputs, seed=seed):
            pass

    def inputs(self, rows: Float[Tensor, "N p"], generator: torch.Generator) -> Float[Tensor, "b p"]:
        """Return the inputs of one step: random mixtures of the rows and noise (x in the module docstring)."""
        scale = rows.square().mean().sqrt()
        share = torch.randn(self.batch_size, len(rows), generator=generator, device="cpu").to(rows) / len(rows) ** 0.5
        noise = torch.randn(self.batch_size, rows.shape[1], generator=generator, device="cpu").to(rows)
        mixed: Tensor = self.mixture**0.5 * (share @ rows) + (1 - self.mixture) ** 0.5 * scale * noise
        return mixed

    @torch.no_grad()
    def _heads(self, data: TrainingRows, width: int) -> Heads:
        """Return the heads of the recipe "anchor" (width x p_m), with the type and device of the rows."""
        maps = anchor_maps({name: x.double().cpu() for name, x in data.rows.items()}, self.ridges, self.cutoff)
        return {name: matrix.to(data.rows[name]) for name, matrix in to_width(maps, width).items()}

    def _steps(
        self, modules: Mapping[str, nn.Module], heads: Heads, rows: Mapping[str, Tensor], *, seed: int, run: int = 0
    ) -> Iterator[int]:
        """Train the modules in place, and yield the number of finished steps after each step."""
        generators = {name: Streams(seed)[f"map/{name}/{run}"] for name in rows}
        parameters = list(dict.fromkeys(parameter for name in rows for parameter in modules[name].parameters()))
        optimiser = torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, self.num_steps))
        for step in range(self.num_steps):
            with torch.enable_grad():
                losses = []
                for name, x in rows.items():
                    inputs = self.inputs(x, generators[name])
                    expected = inputs @ heads[name].mT
                    losses.append((modules[name](inputs) - expected).square().mean() / expected.square().mean())
                optimiser.zero_grad()
                torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            yield step + 1


def _linear(start: Heads) -> dict[str, nn.Module]:
    """Return linear modules without bias whose weights are copies of the heads."""
    modules: dict[str, nn.Module] = {}
    for name, matrix in start.items():
        module = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False, device="meta")  # so that nothing is drawn
        module.weight = nn.Parameter(matrix.detach().clone())
        modules[name] = module
    return modules


def _weight(module: nn.Module) -> Tensor:
    assert isinstance(module, nn.Linear)
    return module.weight.detach().clone()
