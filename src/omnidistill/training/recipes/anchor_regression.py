"""Ridge regression to shared anchors: a closed form, so the trained heads do not depend on any initial heads.

Let X_m (N x p_m) be the rows of modality m, K_m = X_m X_m^T, s_m the mean of the diagonal of K_m, and lambda_m the
ridge. Row i has the same target in every modality, its anchor: the i-th unit vector times a length. D is the diagonal
matrix of these lengths, which decrease beyond the cutoff of the recipe. The heads W_m minimise
||X_m W_m^T - D||^2 + lambda_m s_m ||W_m||^2 (see `training.closed_form.anchor_map`):

    W_m = D (K_m + lambda_m s_m I)^{-1} X_m

If the user has heads V_m (d x p_m), they are not trained. Instead, the heads of the set are stacked on them. Let a be
the weight of the set's heads, and u_m and v_m the mean lengths of the outputs of W_m and V_m on the rows of the set:

    J_m = [ sqrt(a) W_m / u_m ; sqrt(1 - a) V_m / v_m ]        (N + d) x p_m

The similarity of two outputs of J is thus a weighted sum of the similarities by W and by V, with weights a and 1 - a.
To obtain a smaller output width, `cut` reduces J to its leading canonical directions on the rows.

Shapes: N rows, p_m feature width, d embedding width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float, Float64
from pydantic import Field
from torch import Tensor, nn

from omnidistill.core.device import device_of, float64_device
from omnidistill.core.settings import Positive
from omnidistill.models.heads import Heads, project
from omnidistill.training.closed_form.anchor_map import (
    anchor_lengths,
    anchor_maps,
    canonical_basis_of_outputs,
    to_width,
)
from omnidistill.training.recipes.map_regression import MapRegression
from omnidistill.training.recipes.recipe import Recipe, StackedHeads, TrainingRows, recipes


@recipes.register("anchor")
class Anchor(Recipe):
    """Ridge regression from the rows of a set to anchors (targets that all modalities share), in closed form.

    If the user already has heads, `stacked` combines them with the result.
    """

    cites: ClassVar[tuple[str, ...]] = ("kip", "frepo")
    per_modality: ClassVar[str | None] = "ridges"

    ridges: Annotated[tuple[Positive, ...], Field(min_length=1)]
    """Ridge of each modality, relative to the mean squared length of its rows."""
    cutoff: Positive | None = None
    """Index of the head output that counts half; later outputs count less. If absent, all outputs count alike."""
    weight: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Weight of the heads computed from the set when they are stacked on initial heads. With 1, the result does not use
    the initial heads."""
    keep_width: bool = False
    """Whether stacked heads are reduced to the output width of the initial heads."""
    num_steps: Literal[0] = 0
    """Number of training steps: always 0, because the heads are computed in closed form."""

    def heads(self, data: TrainingRows, width: int | None = None) -> Heads:
        """Return the closed-form heads of the rows: N x p_m, or `width` x p_m if `width` is given."""
        return heads_of_rows(data.rows, self.ridges, width, self.cutoff)

    def lengths(self, num_rows: int) -> Float64[Tensor, " N"]:
        """Return the lengths of the anchors (regression targets) of N rows, in the order of the rows."""
        return anchor_lengths(num_rows, self.cutoff)

    @torch.no_grad()
    def stacked(self, start: Heads, data: TrainingRows, width: int | None = None) -> Heads:
        """Return the set's heads stacked on the given heads: the outputs of both are weighted and concatenated.

        The setting `weight` is the weight of the set's heads. If it is 1, the result is the set's heads alone.

        Args:
            start: the given heads, {modality: d x p_m}, with output width d and feature width p_m.
            data: the N rows of the set with their targets and objective, on the device of the heads.
            width: output width of the result. None: N if `weight` is 1, otherwise d (if the setting `keep_width` is
                True) or N + d (if it is False). Stacked heads are reduced by `cut`; all other changes of the width use
                `to_width`.
        """
        if not self.uses_start:
            return self.heads(data, width)
        if width is None and self.keep_width:
            width = len(next(iter(start.values())))
        heads = stack_on(start, self.heads(data), data.rows, self.weight)
        if width is None:
            return heads
        return to_width(heads, width) if width > len(next(iter(heads.values()))) else cut(heads, data.rows, width)

    def students(
        self, start: Heads, data: TrainingRows, *, seed: int, num_runs: int, checkpoints: Sequence[int]
    ) -> Iterator[tuple[int, StackedHeads]]:
        """Yield a single checkpoint. All students have the same heads, because nothing in this recipe is random."""
        yield 0, {name: matrix.expand(num_runs, -1, -1) for name, matrix in self.stacked(start, data).items()}

    def train_modules(self, modules: Mapping[str, nn.Module], data: TrainingRows, *, seed: int) -> None:
        """Train modules by the recipe "map", i.e. by regression to the outputs of the closed-form heads."""
        MapRegression(ridges=self.ridges, cutoff=self.cutoff).train_modules(modules, data, seed=seed)

    @property
    def uses_start(self) -> bool:
        """Whether the recipe combines the heads of the set with initial heads. It does if `weight` is below 1."""
        return self.weight < 1

    def without_start(self) -> Anchor | None:
        """Return a copy of the recipe that ignores initial heads; None if this recipe already ignores them.

        The recipe can combine the heads that it computes from the set with initial heads. In the copy, the heads of the
        set have the weight 1, so only they are used.
        """
        return self.evolve(weight=1.0) if self.uses_start else None

    @property
    def title(self) -> str:
        """One-line description of the recipe: the ridges, and the cutoff and the weight if they are used."""
        ridges = ", ".join(f"{ridge:.3g}" for ridge in self.ridges)
        cutoff = "" if self.cutoff is None else f"; outputs count less beyond number {self.cutoff:.3g}"
        stacked = f"; weight {self.weight:g} when stacked on given heads" if self.uses_start else ""
        return f"ridge regression to anchors, ridges {ridges}{cutoff}{stacked}"


def heads_of_rows(
    rows: Mapping[str, Float[Tensor, "N _"]],
    ridges: Sequence[float],
    width: int | None = None,
    cutoff: float | None = None,
) -> Heads:
    """Return the heads that the recipe "anchor" computes from the rows, with the device and dtype of the rows.

    The heads are computed in float64 and then converted.

    Args:
        rows: {modality: N x p_m}.
        ridges: ridge of each modality, relative to the mean squared length of its rows.
        width: output width of the heads; None means N.
        cutoff: number k > 0. Output i = 1, 2, ... is multiplied by 1 / (1 + (i / k)^4). This is almost 1 for outputs
            far before k, 1/2 for i = k, and less for later outputs. None: all outputs are multiplied by 1.
    """
    device = device_of(dict(rows))
    exact = {name: x.to(float64_device(device)).double() for name, x in rows.items()}
    heads = anchor_maps(exact, ridges, cutoff)
    heads = heads if width is None else to_width(heads, width)
    return {name: matrix.to(device, rows[name].dtype) for name, matrix in heads.items()}


def stack_on(
    start: Mapping[str, Float[Tensor, "_ _"]],
    heads: Mapping[str, Float[Tensor, "_ _"]],
    rows: Mapping[str, Float[Tensor, "_ _"]],
    weight: float | Float[Tensor, ""],
) -> Heads:
    """Return heads computed from a set, stacked on given heads: the outputs of both are concatenated.

    Both are first scaled so that their outputs on the rows of the set have a mean length of 1. The heads of the set are
    then multiplied by sqrt(a), and the given heads by sqrt(1 - a), where a is `weight`. The outputs of the set's heads
    come first.

    Args:
        start: the given heads, such as pretrained heads, {modality: d x p_m}.
        heads: the heads computed from the set, {modality: k x p_m}.
        rows: the rows of the set, {modality: N x p_m}.
        weight: weight a of `heads`, in [0, 1].
    """
    upper, lower = weight**0.5, (1 - weight) ** 0.5
    return {
        name: torch.cat([upper * unit_length(matrix, rows[name]), lower * unit_length(start[name], rows[name])])
        for name, matrix in heads.items()
    }


def cut(heads: Heads, rows: Mapping[str, Float[Tensor, "_ _"]], width: int) -> Heads:
    """Reduce heads to a smaller output width. The new outputs are the leading canonical directions of the old ones.

    The directions are computed from the outputs on the rows of the set. The outputs on row i = 1, 2, ... are first
    divided by sqrt(i), so that earlier rows count more. The reason: the anchor of row i is a multiple of unit vector i,
    so row i corresponds to output i of the set's heads. On real data, earlier outputs vary more than later ones.

    Heads with at most `width` outputs are returned unchanged.

    Args:
        heads: {modality: k x p_m}.
        rows: the rows of the set, {modality: N x p_m}.
        width: output width of the result.
    """
    if len(next(iter(heads.values()))) <= width:
        return heads
    outputs = {name: y.to(float64_device(y.device)).double() for name, y in project(heads, rows).items()}
    first = next(iter(outputs.values()))
    scale = torch.arange(1, len(first) + 1, dtype=torch.float64, device=first.device).rsqrt().unsqueeze(1)
    basis = canonical_basis_of_outputs({name: scale * y for name, y in outputs.items()})[:, :width]
    return {name: basis.mT.to(matrix) @ matrix for name, matrix in heads.items()}


def unit_length(matrix: Tensor, rows: Tensor) -> Tensor:
    """Return the head `matrix`, scaled so that its outputs on the rows have a mean length of 1."""
    length = (rows @ matrix.mT).norm(dim=1).mean()
    return matrix / torch.where(length > 0, length, torch.ones_like(length))
