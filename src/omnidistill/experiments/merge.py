"""Merge synthetic sets without the data that they were distilled from. `distillation.merged_set` explains how."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from pathlib import Path

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.distillation import DistilledSet
from omnidistill.distillation.budget import LEAST_ROWS, parse_budget
from omnidistill.distillation.merged_set import check_mergeable, merged_set, most_rows
from omnidistill.distillation.shipped_bytes import planned_bytes
from omnidistill.experiments.run import load_initial_set
from omnidistill.experiments.run.distill_run import InitialSet


def merge(
    *sets: InitialSet,
    size: int | None = None,
    bytes: str | int | None = None,
    folder: str | Path | None = None,
    force: bool = False,
) -> DistilledSet:
    """Merge synthetic sets of the same features into one set that combines the information in all of them.

    The data are not needed. The training recipe of the sets determines which sizes are possible:

    - With "anchor", the result has 2 or more rows. It has at most as many rows as all sets together, and at most as
      many as the second largest feature width. A single set can be reduced to a smaller size.
    - With "sgd", the result has as many rows as all sets together.

    Sets with other recipes cannot be merged.

    Args:
        sets: sets, results that contain them, or Paths of sets or runs. They need the same modalities, widths,
            preprocessing, recipe and objective.
        size: number of rows of the result; None uses the largest possible number.
        bytes: size budget, instead of `size`: a number of bytes, or text such as "64kB". The result gets as many rows
            as fit.
        folder: folder of the result; None stores nothing.
        force: whether to replace a set in the folder.

    Returns:
        The merged set. Its provenance has the licences of all sets.

    Raises:
        InputError: the sets have different modalities, widths, preprocessing, encoders, recipes or objectives; a single
            set is given without a size or budget; both a size and a budget are given; the sets cannot be merged, or
            not to this size or budget; or the folder is not empty and `force` is False, or contains something other
            than a set.
    """
    if len(sets) < 2 and size is None and bytes is None:
        raise InputError("merge: pass two or more sets, or one set and a smaller size or budget")
    if size is not None and bytes is not None:
        raise InputError(f"{argument('size', size)} and {argument('bytes', bytes)}: both set the size; use only one")
    loaded = [load_initial_set(each) for each in sets]
    place = None if folder is None else Path(folder)
    if place is not None:
        _require_free(place, force)
    check_mergeable(loaded)
    result = merged_set(loaded, size if bytes is None else _size_for(loaded, str(bytes)))
    if place is not None:
        result.save(place)
    return result


def _size_for(sets: list[DistilledSet], budget: str) -> int:
    """Return the largest number of rows for which the files of the merged set fit the budget."""
    if budget.strip().endswith("%"):
        raise InputError(
            f"{argument('bytes', budget)}: a percentage refers to the size of the training features, but merge does "
            "not read them; pass a number of bytes, such as 64kB"
        )
    first, most = sets[0], parse_budget(budget, 10**30)

    def num_bytes(size: int) -> int:
        return planned_bytes(replace(first.spec, size=size), first.preprocessing)

    sizes = range(LEAST_ROWS, most_rows(sets) + 1)
    fitting = bisect_right(sizes, most, key=num_bytes)
    if not fitting:
        raise InputError(
            f"{argument('bytes', budget)}: too small; pass at least {num_bytes(LEAST_ROWS):,} bytes, the size of "
            f"{LEAST_ROWS} rows"
        )
    return sizes[fitting - 1]


def _require_free(folder: Path, force: bool) -> None:
    """Raise InputError if the folder has content, unless it is a set that may be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(entry.name != ".lock" for entry in folder.iterdir())):
        return
    if not force:
        raise InputError(
            f"{folder}: already exists; choose another folder, or use {argument('force', True)} to replace the set in "
            "it"
        )
    DistilledSet.load(folder)  # raises an error if it is anything else
