"""Train heads (also of several students at once) or torch modules on the rows of a distilled set.

Training runs on the device of the heads or modules. The functions therefore take `rows_on`, a function that returns the
rows of the set on a device.

Shapes: R students, d output width, p_m feature width of modality m.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from omnidistill.core.device import device_of
from omnidistill.core.errors import InputError
from omnidistill.models.heads import Heads, check_heads, check_modules, first_parameter
from omnidistill.training.recipes import Recipe, TrainingRows
from omnidistill.training.recipes.recipe import StackedHeads

RowsOn = Callable[[torch.device | str], TrainingRows]
"""Function that returns the rows of a set on a device."""


def train_students(
    recipe: Recipe,
    widths: Mapping[str, int],
    rows_on: RowsOn,
    start: Heads,
    seed: int,
    num_runs: int,
    checkpoints: Sequence[int] | None = None,
) -> Iterator[tuple[int, StackedHeads]]:
    """Train R students; yield the number of steps taken and the heads (R x d x p_m) at every checkpoint.

    Args:
        recipe: training recipe.
        widths: modalities of the set, and their feature widths.
        rows_on: returns the rows of the set on a device.
        start, seed, num_runs, checkpoints: see `DistilledSet.students`.

    Raises:
        InputError: heads are missing or do not match the rows.
    """
    start, data = _with_rows(start, widths, rows_on)
    yield from recipe.students(start, data, seed=seed, num_runs=num_runs, checkpoints=checkpoints or [recipe.num_steps])


def train_models(
    recipe: Recipe,
    widths: Mapping[str, int],
    rows_on: RowsOn,
    start: Mapping[str, Tensor] | Mapping[str, nn.Module] | None,
    seed: int,
    width: int | None,
) -> Heads | dict[str, nn.Module]:
    """Train heads or torch modules, and return them.

    Args:
        recipe: training recipe.
        widths: modalities of the set, and their feature widths.
        rows_on: returns the rows of the set on a device.
        start, seed, width: see `DistilledSet.train`.

    Raises:
        InputError: see `DistilledSet.train`.
    """
    recipe.check(widths)
    if width is not None and width < 1:
        raise InputError(f"width = {width}: the width of heads must be at least 1")
    if start is None:
        return recipe.heads(rows_on("cpu"), width)
    if any(isinstance(each, nn.Module) for each in start.values()):
        if width is not None:
            raise InputError("width: the output width of the torch modules in `start` is fixed; omit this argument")
        return _train_modules(recipe, widths, rows_on, start, seed)
    heads: Heads = dict(start)  # type: ignore[arg-type]
    if width is not None:
        heads, data = _with_rows(heads, widths, rows_on)
        return recipe.stacked(heads, data, width)
    _, trained = next(train_students(recipe, widths, rows_on, heads, seed, 1))
    return {name: matrix[0] for name, matrix in trained.items()}


def _with_rows(start: Heads, widths: Mapping[str, int], rows_on: RowsOn) -> tuple[Heads, TrainingRows]:
    """Return the initial heads in the dtype of the rows, and the rows on the device of the heads."""
    check_heads(start, widths, "heads to train on the set")
    data = rows_on(device_of(start))
    return {name: start[name].to(x.dtype) for name, x in data.rows.items()}, data


def _train_modules(
    recipe: Recipe, widths: Mapping[str, int], rows_on: RowsOn, modules: Mapping[str, Any], seed: int
) -> dict[str, nn.Module]:
    check_modules(modules, widths)
    trained = copy.deepcopy({name: modules[name] for name in widths})  # at once: parameters stay shared
    parameters = {name: first_parameter(module) for name, module in trained.items()}
    data = rows_on(next(iter(parameters.values())).device)
    rows = {name: x.to(parameters[name].dtype) for name, x in data.rows.items()}
    recipe.train_modules(trained, replace(data, rows=rows), seed=seed)
    return trained
