"""Conversion of arrays from any library to raw features: N paired rows per modality, with groups and splits.

    {modality: rows x width} --check the arrays, fill in missing ids, groups and splits--> RawFeatures

Whole numbers of any type are converted to float32. If there is no validation split, some training groups become the
validation split, with a warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.core.streams import Streams
from omnidistill.data.raw import RawFeatures

Array = Tensor | ArrayLike
"""Rows x width: a tensor, an array from any library that NumPy can convert, or nested sequences of numbers."""

_VALIDATION_SHARE = 0.2
_MOST_VALIDATION_GROUPS = 1000  # enough for a standard error of at most 1.6 points in a score


def raw_from_arrays(
    features: Mapping[str, Array],
    *,
    ids: Sequence[object] | None = None,
    groups: Sequence[object] | None = None,
    splits: Sequence[str] | None = None,
    captions: Mapping[str, Sequence[str]] | None = None,
    name: str = "arrays",
    seed: int = 0,
) -> RawFeatures:
    """Return the raw features that arrays contain.

    Args:
        features: {modality: array with N rows}, as encoders return them. Row i of every array belongs to the same item.
        ids: one unique name per row. None uses the row numbers 0, 1, ...
        groups: group of each row. Rows in the same group are positives of each other. None puts every row in a
            separate group.
        splits: split of each row: "heads" (for pre-training the projection heads), "train", "validation" or "test".
            None puts every row in "train". If no row is in "validation", a fifth of the training groups (at most 1,000)
            become that split, with a warning.
        captions: {modality: N texts} for display.
        name: name of the data, shown in tables of results.
        seed: seed for the choice of validation groups.

    Raises:
        InputError: `features` is not a mapping, an array is not numeric with shape rows x width, or the numbers of rows
            differ.
    """
    if not isinstance(features, Mapping):
        raise InputError(
            f"features: found a {type(features).__name__}; pass a dict with one array of shape (rows, width) per "
            "modality, such as {'image': images, 'text': texts}"
        )
    tensors = {str(modality): as_rows(f"modality {modality!r}", x) for modality, x in features.items()}
    rows = len(next(iter(tensors.values()), ()))
    for what, given in (("ids", ids), ("groups", groups), ("splits", splits)):
        if given is not None and (isinstance(given, str) or len(given) != rows):
            count = "one text" if isinstance(given, str) else f"{len(given)} entries"
            raise InputError(f"{what}: found {count} for {rows} rows; pass one entry per row")
    names = tuple(str(each) for each in (range(rows) if ids is None else ids))
    raw = RawFeatures(
        tensors,
        names,
        names if groups is None else tuple(str(group) for group in groups),
        ("train",) * rows if splits is None else tuple(str(split) for split in splits),
        {"name": name},
        {modality: tuple(texts) for modality, texts in (captions or {}).items()},
    )
    return with_validation(raw, seed)


def with_validation(raw: RawFeatures, seed: int = 0) -> RawFeatures:
    """Return features with a validation split. If `raw` has none, some of its training groups become this split.

    Raises:
        InputError: `raw` has no validation split, and too few training groups to create one.
    """
    if "validation" in raw.splits:
        return raw
    known = list(dict.fromkeys(g for g, split in zip(raw.groups, raw.splits, strict=True) if split == "train"))
    count = min(round(_VALIDATION_SHARE * len(known)), _MOST_VALIDATION_GROUPS)
    if not count:
        raise InputError(
            f"splits: there are no validation rows, and too few training groups ({len(known)}) to use some of them for "
            "validation; add training groups or validation rows"
        )
    order = torch.randperm(len(known), generator=Streams(seed)["estimator/validation"], device="cpu")[:count]
    drawn = {known[number] for number in order.tolist()}
    splits = tuple("validation" if g in drawn else split for g, split in zip(raw.groups, raw.splits, strict=True))
    warnings.warn(
        f"no validation split given: {count} of {len(known)} training groups ({splits.count('validation')} rows) were "
        f"chosen at random with seed {seed}; pass splits to choose them yourself",
        stacklevel=4,
    )
    return RawFeatures(raw.features, raw.ids, raw.groups, splits, raw.provenance, raw.captions)


def as_rows(what: str, x: Array) -> Float[Tensor, "_ _"]:
    """Return an array of numbers as a floating-point tensor, rows x width. It shares the array's memory if possible.

    Args:
        what: name of the array in error messages.
        x: the array. Whole numbers become float32.

    Raises:
        InputError: the array is ragged, not numeric, or not rows x width.
    """
    if not isinstance(x, Tensor):
        try:
            array = np.asarray(x)
        except ValueError:
            raise InputError(f"{what}: the rows have different lengths; pass an array of shape (rows, width)") from None
        if array.dtype.kind not in "fiu":
            raise InputError(f"{what}: dtype is {array.dtype}; features must be integers or floating-point numbers")
        x = torch.from_numpy(np.require(array, requirements="W"))
    if x.ndim != 2:
        raise InputError(f"{what}: shape is {tuple(x.shape)}; features must have shape (rows, width)")
    if x.is_complex() or x.dtype == torch.bool:
        raise InputError(
            f"{what}: dtype is {str(x.dtype).removeprefix('torch.')}; features must be real numbers, such as float32"
        )
    rows: Tensor = x if x.is_floating_point() else x.float()
    return rows
