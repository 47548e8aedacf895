"""Checks of the parts of a feature set. Every message names the part, and if possible the row and its id."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.data.names import check_encodable
from omnidistill.data.preprocessing import Preprocessing


def check_counts(
    features: Mapping[str, Tensor],
    ids: Sequence[str],
    groups: Sequence[str],
    splits: Sequence[str],
    preprocessing: Preprocessing,
) -> None:
    """Check the shapes and lengths of the parts of a feature set.

    Raises:
        InputError: there are fewer than two modalities or no rows; features or means have the wrong shape; or the
            features, groups or splits do not have one row per id.
    """
    if len(features) < 2:
        only = f"only {next(iter(features))!r}" if features else "none"
        raise InputError(f"modalities: found {only}; a paired dataset needs at least two modalities")
    if not ids:
        raise InputError("the dataset has no rows; pass at least one row")
    counts = {"groups": len(groups), "splits": len(splits)}
    for name, x in features.items():
        if x.ndim != 2 or x.shape[1] == 0:
            raise InputError(
                f"modality {name!r}: shape is {tuple(x.shape)}; "
                "features must have shape (rows, width), with width at least 1"
            )
        counts[f"modality {name!r}"] = x.shape[0]
        means = preprocessing.means
        if means and (name not in means or len(means[name]) != x.shape[1]):
            problem = f"its mean has width {len(means[name])}" if name in means else "it has no mean for this modality"
            raise InputError(
                f"modality {name!r}: the features have width {x.shape[1]}, which does not fit the preprocessing, "
                f"because {problem}; call `prepare` again"
            )
    for what, count in counts.items():
        if count != len(ids):
            raise InputError(f"{what}: {count} rows, but there are {len(ids)} ids; pass one row per id")


def check_texts(what: str, texts: Sequence[str]) -> None:
    """Raise InputError if one of the ids or groups cannot be stored as text. The message names the row."""
    for row, text in enumerate(texts):
        if not text.isascii():
            check_encodable(text, f"{what} of row {row}")


def row_place(row: int) -> str:
    """Return the name of a row in error messages, such as "row 3"."""
    return f"row {row}"


def check_ids(ids: Sequence[str], place: Callable[[int], str] = row_place) -> None:
    """Raise InputError if two rows have the same id. The message names the `place` of both rows."""
    if len(set(ids)) == len(ids):
        return
    seen: dict[str, int] = {}
    for row, name in enumerate(ids):
        if (first := seen.setdefault(name, row)) != row:
            raise InputError(f"id {name!r}: {place(first)} and {place(row)} both have this id; ids must be unique")


def check_groups(groups: Sequence[str], splits: Sequence[str], place: Callable[[int], str] = row_place) -> None:
    """Raise InputError if the rows of a group are in different splits. The message names the `place` of a row."""
    split_of: dict[str, str] = {}
    for row, (group, split) in enumerate(zip(groups, splits, strict=True)):
        if (first := split_of.setdefault(group, split)) != split:
            raise InputError(
                f"group {group!r}: contains rows of split {first!r} and of split {split!r} ({place(row)}); "
                "all rows of a group must be in the same split"
            )


def check_pairing(pairing: Tensor, rows: int) -> None:
    """Raise InputError unless `pairing` is a similarity matrix (rows x rows) with values in [0, 1]."""
    if tuple(pairing.shape) != (rows, rows) or not pairing.is_floating_point():
        raise InputError(
            f"pairing: the similarity matrix has dtype {type_name(pairing)} and shape {tuple(pairing.shape)}, but "
            f"{rows} rows need a floating-point dtype and shape ({rows}, {rows})"
        )
    low, high = (float(bound) for bound in torch.aminmax(pairing))
    if not 0 <= low <= high <= 1:
        raise InputError(
            f"pairing (the matrix of similarities between rows): values range from {low:g} to {high:g}; similarities "
            "must be finite and in [0, 1]"
        )


def check_rows(index: Tensor, rows: int) -> None:
    """Raise InputError unless `index` lists one or more valid row numbers, without repetition."""
    if index.ndim != 1 or index.numel() == 0:
        raise InputError(
            f"rows to select: shape is {tuple(index.shape)}; pass a flat list with at least one row number"
        )
    low, high = (int(bound) for bound in torch.aminmax(index))
    if low < 0 or high >= rows:
        raise InputError(
            f"rows to select: the row numbers range from {low} to {high}; they must be between 0 and {rows - 1}"
        )
    if int(torch.bincount(index, minlength=rows).max()) > 1:
        raise InputError("rows to select: a row number occurs twice; pass each row number only once")


def type_name(x: Tensor) -> str:
    """Return the name of a tensor's type, such as float16."""
    return str(cast(object, x.dtype)).removeprefix("torch.")
