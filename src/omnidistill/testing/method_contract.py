"""The contract of a method: what it makes, where it leaves it, and what it must not touch."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.distill import DistilledSet
from omnidistill.distill.distilled_set import sgd_recipe
from omnidistill.methods import Method, Task
from omnidistill.testing.promises import require


def check_method(method: Method, task: Task) -> None:
    """Assert that a method keeps what a run relies on, for one task; give it tasks of several numbers of modalities.

    It makes a set of exactly `method.size` rows (and their views), finite, of the modalities and widths of the
    training rows, with a finite similarity, a usable recipe, the method's storage and objective, the preprocessing and
    the provenance of the task, and no id that is not a training row's; it saves the set in FOLDER/distilled, where it
    loads as what was returned. Students train from it to finite heads. The seed decides every bit, and any seed will
    do; neither torch's global generator nor the task's rows and start are touched. A size above the number of training
    rows is met, or refused by InputError.

    That no test row is seen needs no check: a `Development` has none. The method runs four times, each in a folder of
    its own in `task.folder`; make the task small.

    Raises:
        AssertionError: a promise is broken.
    """
    first = _made(method, task, "first")
    difference = _difference(first, _made(method, task, "again"))
    require(difference is None, f"{_of(task)}: two runs of one seed differ, in {difference}")
    _made(method, replace(task, seed=task.seed + 1), "other seed")
    with suppress(InputError):
        _made(method.evolve(size=len(task.development.train) + 1), task, "many rows")


def _made(method: Method, task: Task, folder: str) -> DistilledSet:
    """The set that the method makes there, once it is found to be one."""
    task = replace(task, folder=task.folder / folder)
    where = f"{_of(task)}, run '{folder}'"
    kept, before = {name: tensor.clone() for name, tensor in _given(task).items()}, torch.get_rng_state()
    found = method.run(task)
    require(torch.equal(torch.get_rng_state(), before), f"{where}: used torch's global random state")
    for name, tensor in _given(task).items():
        require(torch.equal(tensor, kept[name]), f"{where}: changed {name} in place")
    require(math.isfinite(found.seconds) and found.seconds >= 0, f"{where}: took {found.seconds} seconds")
    _check_rows(found.distilled, method, task, where)
    _check_record(found.distilled, method, task, where)
    _check_students(found.distilled, task, where)
    try:
        loaded = DistilledSet.load(task.folder / "distilled")
    except InputError as error:
        raise AssertionError(f"{where}: left no set in FOLDER/distilled ({error})") from error
    difference = _difference(found.distilled, loaded)
    require(difference is None, f"{where}: the set in FOLDER/distilled is not the one returned, in {difference}")
    return found.distilled


def _check_rows(found: DistilledSet, method: Method, task: Task, where: str) -> None:
    size, train = method.num_rows, task.development.train
    names = found.modalities
    require(names == train.modalities, f"{where}: modalities are {names}, those of the data {train.modalities}")
    for name, rows in found.rows().items():
        wanted = (size, train.widths[name])
        require(tuple(rows.shape) == wanted, f"{where}: rows of '{name}' are {tuple(rows.shape)}, not {wanted}")
        require(bool(rows.isfinite().all()), f"{where}: rows of '{name}' hold NaN or Inf")
    targets = found.similarity()
    wanted = (size, size)
    require(tuple(targets.shape) == wanted, f"{where}: its similarity is {tuple(targets.shape)}, not {wanted}")
    require(bool(targets.isfinite().all()), f"{where}: its similarity holds NaN or Inf")


def _check_record(found: DistilledSet, method: Method, task: Task, where: str) -> None:
    train, recipe = task.development.train, sgd_recipe(found)
    sizes = recipe.step_sizes
    usable = len(sizes) == len(train.modalities) and all(0 < size < math.inf for size in sizes)
    require(usable, f"{where}: step sizes {sizes}; the recipe needs a positive one for each modality")
    counts = recipe.num_steps >= 1 and 1 <= recipe.batch_size <= len(found)
    require(counts, f"{where}: no recipe has {recipe.num_steps} steps on batches of {recipe.batch_size}")
    stored = found.spec.storage == method.resolved_storage and found.spec.objective == method.student
    require(stored, f"{where}: has another storage or objective than the method's settings")
    steps = found.preprocessing.to_meta() == train.preprocessing.to_meta()
    require(steps, f"{where}: holds other preprocessing than the data's")
    foreign = sorted(set(found.provenance.initial_ids) - set(train.ids))
    require(not foreign, f"{where}: id {foreign[:1]} is of no training row")
    given, recorded = task.provenance.to_json(), found.provenance.to_json()
    lost = [key for key, value in given.items() if key != "config" and recorded.get(key) != value]
    require(not lost, f"{where}: provenance {lost} of the task is lost")


def _check_students(found: DistilledSet, task: Task, where: str) -> None:
    for name, matrix in found.train(task.start).items():
        shape = tuple(task.start[name].shape)
        require(tuple(matrix.shape) == shape, f"{where}: a student's head of '{name}' is {tuple(matrix.shape)}")
        require(bool(matrix.isfinite().all()), f"{where}: a student's head of '{name}' holds NaN or Inf")


def _difference(one: DistilledSet, other: DistilledSet) -> str | None:
    """Where two sets first differ."""
    for name in {**one.tensors, **other.tensors}:
        if (
            name not in one.tensors
            or name not in other.tensors
            or not torch.equal(one.tensors[name], other.tensors[name])
        ):
            return f"'{name}'"
    left, right = _record(one), _record(other)
    return next((f"its {name}" for name in left if left[name] != right[name]), None)


def _record(found: DistilledSet) -> dict[str, Any]:
    """All but the tensors, as a manifest has it."""
    told = {
        "modalities": found.modalities,
        "specification": found.spec.to_json() | {"preprocessing": None},
        "provenance": found.provenance.to_json(),
    }
    plain: dict[str, Any] = json.loads(json.dumps(told))
    return plain


def _given(task: Task) -> dict[str, Tensor]:
    """What the method may read and must not write to."""
    splits = {name: getattr(task.development, name) for name in ("heads", "train", "validation")}
    rows = {
        f"the {split} rows of '{name}'": x
        for split, data in splits.items()
        if data is not None
        for name, x in data.features.items()
    }
    return {**rows, **{f"the start of '{name}'": matrix for name, matrix in task.start.items()}}


def _of(task: Task) -> str:
    return f"method with {len(task.development.train.modalities)} modalities"
