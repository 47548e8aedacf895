"""Checks of the parts of a feature set. Every message names the part, and if possible the row and its id."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.data.names import check_encodable, check_modality_names, check_split_names
from omnidistill.data.preprocessing import Preprocessing

_LARGEST = 1e18  # squares of larger values overflow in float32


def check_parts(
    features: Mapping[str, Tensor],
    ids: Sequence[str],
    groups: Sequence[str],
    splits: Sequence[str],
    pairing: Tensor | None,
    preprocessing: Preprocessing,
) -> None:
    """Check that these attributes of a `FeatureSet` are valid.

    Raises:
        InputError: an attribute does not match its description in `FeatureSet`. If possible, the message names the
            modality, the row and its id.
    """
    check_modality_names(features)
    check_counts(features, ids, groups, splits, preprocessing)
    check_texts("id", ids)
    check_texts("group", groups)
    check_ids(ids)
    check_split_names(splits)
    check_groups(groups, splits)
    check_features(features, ids)
    if pairing is not None:
        check_pairing(pairing, len(ids))


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
            number of rows, groups or splits differs from the number of ids.
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
            problem = f"a mean of width {len(means[name])}" if name in means else "no mean for this modality"
            raise InputError(
                f"modality {name!r}: the features have width {x.shape[1]}, but the preprocessing has {problem}; "
                "call `prepare` again"
            )
    for what, count in counts.items():
        if count != len(ids):
            raise InputError(f"{what}: {count} rows, but there are {len(ids)} ids; pass one row per id")


def check_features(features: Mapping[str, Tensor], ids: Sequence[str]) -> None:
    """Raise InputError if prepared features are not float32, or a value is NaN, Inf or greater than 1e18 in magnitude.

    The message names the modality.
    """
    for name, x in features.items():
        if x.dtype != torch.float32:
            raise InputError(
                f"modality {name!r}: prepared features must be float32, found {type_name(x)}; call `prepare` first"
            )
        check_finite(name, x, ids)


def check_finite(name: str, x: Float[Tensor, "n p"], ids: Sequence[str], first: int = 0) -> None:
    """Raise InputError if a value is NaN, Inf or greater than 1e18 in magnitude. The message names the row.

    Args:
        name: name of the modality.
        x: consecutive rows of the modality.
        ids: ids of all rows in the set.
        first: number of the first row in x.
    """
    if x.numel() == 0 or all(abs(float(bound)) <= _LARGEST for bound in torch.aminmax(x)):
        return  # the usual case needs only one pass
    for row, values in enumerate(x):
        bad = ~(values.double().abs() <= _LARGEST)
        if bad.any():
            column = int(bad.nonzero()[0])
            raise InputError(
                f"modality {name!r}, row {first + row} (id {ids[first + row]!r}), column {column}: the value is "
                f"{float(values[column])}; features must be finite and at most {_LARGEST:g} in magnitude; "
                "drop the row or encode it again"
            )


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
            f"for {rows} rows it must have a floating-point dtype and shape ({rows}, {rows})"
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


def check_selected_modalities(names: Sequence[str], features: Mapping[str, Tensor]) -> None:
    """Raise InputError if a selected modality is not in the features, or if fewer than two are selected."""
    for name in names:
        if name not in features:
            raise InputError(
                f"modality {name!r}: not in the dataset, which has the modalities {', '.join(features)}; "
                "choose one of them"
            )
    if len(set(names)) < 2:
        raise InputError(f"modalities {list(names)}: a paired dataset needs at least two different modalities")


def type_name(x: Tensor) -> str:
    """Return the name of a tensor's type, such as float16."""
    return str(cast(object, x.dtype)).removeprefix("torch.")
