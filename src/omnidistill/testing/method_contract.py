"""The contract of methods: requirements on the set that they return, and inputs that they must not modify."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.distillation import DistilledSet
from omnidistill.methods import Method, Task
from omnidistill.testing.assertions import require
from omnidistill.training.recipes import Sgd


def check_method(method: Method, task: Task) -> None:
    """Check the contract of methods for one task. Run this check for tasks with different numbers of modalities.

    - The set has `method.num_rows` synthetic rows (or fewer if `method.may_return_fewer`), with the modalities and
      widths of the real training rows. Rows and similarity are finite, and the recipe is valid.
    - The set has the method's storage and objective, and the task's preprocessing and provenance. If the set records
      the ids of its initial rows, these are ids of training rows.
    - Saving and loading does not change the set. A run in memory, without a folder, returns the same set as a run with
      a folder.
    - Students that are trained on the set have finite heads.
    - Two runs with the same seed return bitwise the same set. Other seeds also work.
    - The method does not use torch's global random state, and does not modify the task's rows and initial heads.
    - If the size exceeds the number of training rows, the method returns a valid set or raises InputError.

    The check does not look for leaked test rows, because the data of the task contain no test rows.

    Args:
        method: the method to check.
        task: a small task with a folder. The method runs four times, in subfolders of this folder and in memory.

    Raises:
        AssertionError: a requirement is violated.
    """
    first = _run(method, task, "first")
    difference = _difference(first, _run(method, replace(task, folder=None), "in memory"))
    require(difference is None, f"{_describe(task)}: two runs with the same seed differ in {difference}")
    _run(method, replace(task, seed=task.seed + 1), "other seed")
    with suppress(InputError):
        _run(method.evolve(size=len(task.development.train) + 1), task, "many rows")


def _run(method: Method, task: Task, name: str) -> DistilledSet:
    """Run the method, check the set that it returns, and return this set.

    If the task has a folder, the method runs in the subfolder `name` of this folder.
    """
    task = replace(task, folder=task.folder and task.folder / name)
    where = f"{_describe(task)}, run '{name}'"
    originals, before = {name: tensor.clone() for name, tensor in _inputs(task).items()}, torch.get_rng_state()
    result = method.run(task)
    require(torch.equal(torch.get_rng_state(), before), f"{where}: used torch's global random state")
    for name, tensor in _inputs(task).items():
        require(torch.equal(tensor, originals[name]), f"{where}: modified {name} in place")
    valid = math.isfinite(result.seconds) and result.seconds >= 0
    require(valid, f"{where}: reports a time of {result.seconds} seconds")
    _check_rows(result.distilled, method, task, where)
    _check_spec(result.distilled, method, task, where)
    _check_students(result.distilled, task, where)
    if task.folder is not None:
        result.distilled.save(task.folder / "contract")
        difference = _difference(result.distilled, DistilledSet.load(task.folder / "contract"))
        require(difference is None, f"{where}: saving and loading changes {difference} of the set")
    return result.distilled


def _check_rows(distilled: DistilledSet, method: Method, task: Task, where: str) -> None:
    size, train = method.num_rows, task.development.train
    if method.may_return_fewer:
        size = min(size, len(distilled))
    names = distilled.modalities
    require(names == train.modalities, f"{where}: modalities are {names}, but the data has {train.modalities}")
    for name, rows in distilled.rows().items():
        expected = (size, train.widths[name])
        shape = tuple(rows.shape)
        require(shape == expected, f"{where}: rows of '{name}' have shape {shape}, not {expected}")
        require(bool(rows.isfinite().all()), f"{where}: rows of '{name}' contain NaN or Inf")
    targets = distilled.similarity()
    expected = (size, size)
    shape = tuple(targets.shape)
    require(shape == expected, f"{where}: the similarity has shape {shape}, not {expected}")
    require(bool(targets.isfinite().all()), f"{where}: the similarity contains NaN or Inf")


def _check_spec(distilled: DistilledSet, method: Method, task: Task, where: str) -> None:
    train, recipe = task.development.train, distilled.recipe
    if isinstance(recipe, Sgd):
        sizes = recipe.step_sizes
        valid = len(sizes) == len(train.modalities) and all(0 < size < math.inf for size in sizes)
        require(valid, f"{where}: the recipe needs one positive step size per modality, but has {sizes}")
        counts = recipe.num_steps >= 1 and 1 <= recipe.batch_size <= len(distilled)
        require(counts, f"{where}: the recipe has {recipe.num_steps} steps on batches of {recipe.batch_size} rows")
    planned = method.spec(train.widths).recipe.kind
    require(recipe.kind == planned, f"{where}: the recipe has kind '{recipe.kind}', but `spec` announces '{planned}'")
    storage, fewer = distilled.spec.storage, method.may_return_fewer and len(distilled) < method.num_rows
    stored = storage.kind == method.storage.kind if fewer else storage == method.resolved_storage
    same = stored and distilled.spec.objective == method.student
    require(same, f"{where}: storage or objective of the set differs from the settings of the method")
    steps = distilled.preprocessing.to_meta() == train.preprocessing.to_meta()
    require(steps, f"{where}: preprocessing of the set differs from that of the data")
    unknown = sorted(set(distilled.provenance.initial_ids) - set(train.ids))
    require(not unknown, f"{where}: initial id {unknown[:1]} is not the id of a training row")
    expected_record, record = task.provenance.to_json(), distilled.provenance.to_json()
    lost = [key for key, value in expected_record.items() if key != "config" and record.get(key) != value]
    require(not lost, f"{where}: the set lacks or changes the fields {lost} of the task's provenance")


def _check_students(distilled: DistilledSet, task: Task, where: str) -> None:
    for name, matrix in distilled.train(task.start).items():
        shape = tuple(task.start[name].shape)
        same = matrix.shape[1] == shape[1] and (matrix.shape[0] == shape[0] or distilled.recipe.kind != "sgd")
        require(same, f"{where}: a student's head for '{name}' has shape {tuple(matrix.shape)}, not {shape}")
        require(bool(matrix.isfinite().all()), f"{where}: a student's head for '{name}' contains NaN or Inf")


def _difference(one: DistilledSet, other: DistilledSet) -> str | None:
    """Return the name of the first part in which two sets differ, or None if the sets are equal."""
    for name in {**one.tensors, **other.tensors}:
        if (
            name not in one.tensors
            or name not in other.tensors
            or not torch.equal(one.tensors[name], other.tensors[name])
        ):
            return f"'{name}'"
    left, right = _record(one), _record(other)
    return next((f"its {name}" for name in left if left[name] != right[name]), None)


def _record(distilled: DistilledSet) -> dict[str, Any]:
    """Return everything in the set except the tensors, as JSON."""
    record = {
        "modalities": distilled.modalities,
        "specification": distilled.spec.to_json() | {"preprocessing": None},
        "provenance": distilled.provenance.to_json(),
    }
    plain: dict[str, Any] = json.loads(json.dumps(record))
    return plain


def _inputs(task: Task) -> dict[str, Tensor]:
    """Return the tensors that the method may read but must not modify."""
    splits = {name: getattr(task.development, name) for name in ("heads", "train", "validation")}
    rows = {
        f"the {split} rows of '{name}'": x
        for split, data in splits.items()
        if data is not None
        for name, x in data.features.items()
    }
    return {**rows, **{f"the initial head for '{name}'": matrix for name, matrix in task.start.items()}}


def _describe(task: Task) -> str:
    return f"method with {len(task.development.train.modalities)} modalities"
