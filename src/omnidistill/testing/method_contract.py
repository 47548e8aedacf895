"""The contract of methods: the set that they return, and the inputs that they must not modify."""

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
from omnidistill.distillation.distilled_set import sgd_recipe
from omnidistill.methods import Method, Task
from omnidistill.testing.assertions import require


def check_method(method: Method, task: Task) -> None:
    """Check the contract of methods for one task; use tasks with different numbers of modalities.

    - The set has exactly `method.size` stored rows (and their views) with the modalities and widths of the training
      rows. Rows and similarity are finite, and the recipe is valid.
    - The set has the storage and objective of the method, and preprocessing and provenance of the task. Its initial ids
      are ids of training rows.
    - The set can be saved; loading it gives the same set. Without a folder, the method returns the same set.
    - Students trained on the set have finite heads.
    - The seed determines every bit, and any seed works.
    - The method uses neither torch's global random state nor modifies rows and initial heads of the task.
    - A size above the number of training rows works, or raises InputError.

    A `Development` has no test rows, so their use needs no check.

    Args:
        method: the method to check.
        task: a small task with a folder, because the method runs four times, in subfolders of it and in memory.

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
    """Run the method, in a subfolder if the task has a folder, and return its set after checking it."""
    task = replace(task, folder=task.folder and task.folder / name)
    where = f"{_describe(task)}, run '{name}'"
    originals, before = {name: tensor.clone() for name, tensor in _inputs(task).items()}, torch.get_rng_state()
    result = method.run(task)
    require(torch.equal(torch.get_rng_state(), before), f"{where}: used torch's global random state")
    for name, tensor in _inputs(task).items():
        require(torch.equal(tensor, originals[name]), f"{where}: modified {name} in place")
    require(math.isfinite(result.seconds) and result.seconds >= 0, f"{where}: reports {result.seconds} seconds")
    _check_rows(result.distilled, method, task, where)
    _check_spec(result.distilled, method, task, where)
    _check_students(result.distilled, task, where)
    if task.folder is not None:
        result.distilled.save(task.folder / "contract")
        difference = _difference(result.distilled, DistilledSet.load(task.folder / "contract"))
        require(difference is None, f"{where}: the set changes in {difference} when it is saved and loaded")
    return result.distilled


def _check_rows(distilled: DistilledSet, method: Method, task: Task, where: str) -> None:
    size, train = method.num_rows, task.development.train
    names = distilled.modalities
    require(names == train.modalities, f"{where}: modalities are {names}, those of the data {train.modalities}")
    for name, rows in distilled.rows().items():
        expected = (size, train.widths[name])
        require(tuple(rows.shape) == expected, f"{where}: rows of '{name}' are {tuple(rows.shape)}, not {expected}")
        require(bool(rows.isfinite().all()), f"{where}: rows of '{name}' contain NaN or Inf")
    targets = distilled.similarity()
    expected = (size, size)
    require(tuple(targets.shape) == expected, f"{where}: the similarity is {tuple(targets.shape)}, not {expected}")
    require(bool(targets.isfinite().all()), f"{where}: the similarity contains NaN or Inf")


def _check_spec(distilled: DistilledSet, method: Method, task: Task, where: str) -> None:
    train, recipe = task.development.train, sgd_recipe(distilled)
    sizes = recipe.step_sizes
    valid = len(sizes) == len(train.modalities) and all(0 < size < math.inf for size in sizes)
    require(valid, f"{where}: step sizes {sizes}; the recipe needs a positive one for each modality")
    counts = recipe.num_steps >= 1 and 1 <= recipe.batch_size <= len(distilled)
    require(counts, f"{where}: the recipe has {recipe.num_steps} steps on batches of {recipe.batch_size}")
    stored = distilled.spec.storage == method.resolved_storage and distilled.spec.objective == method.student
    require(stored, f"{where}: storage or objective differs from the settings of the method")
    steps = distilled.preprocessing.to_meta() == train.preprocessing.to_meta()
    require(steps, f"{where}: preprocessing differs from that of the data")
    unknown = sorted(set(distilled.provenance.initial_ids) - set(train.ids))
    require(not unknown, f"{where}: id {unknown[:1]} is not that of a training row")
    expected_record, record = task.provenance.to_json(), distilled.provenance.to_json()
    lost = [key for key, value in expected_record.items() if key != "config" and record.get(key) != value]
    require(not lost, f"{where}: provenance {lost} of the task is lost")


def _check_students(distilled: DistilledSet, task: Task, where: str) -> None:
    for name, matrix in distilled.train(task.start).items():
        shape = tuple(task.start[name].shape)
        require(tuple(matrix.shape) == shape, f"{where}: a student's head of '{name}' is {tuple(matrix.shape)}")
        require(bool(matrix.isfinite().all()), f"{where}: a student's head of '{name}' contains NaN or Inf")


def _difference(one: DistilledSet, other: DistilledSet) -> str | None:
    """Return the name of the first part in which two sets differ, or None."""
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
    """Return everything except the tensors, as JSON."""
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
    return {**rows, **{f"the start of '{name}'": matrix for name, matrix in task.start.items()}}


def _describe(task: Task) -> str:
    return f"method with {len(task.development.train.modalities)} modalities"
