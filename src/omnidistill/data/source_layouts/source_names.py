"""Helpers for layouts: check the suffixes of files, find the split in a path, and compare the columns of parts."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from omnidistill.core.errors import InputError
from omnidistill.data.splits import split_name
from omnidistill.io.input_files import files_below

if TYPE_CHECKING:
    import pyarrow


def only_suffixes(folder: Path, required: Collection[str], allowed: Collection[str]) -> bool:
    """Return whether all files have a `required` or an `allowed` suffix, and at least one has a `required` suffix.

    The files are those in the folder and its subfolders.
    """
    found = False
    for path in files_below(folder):
        if (suffix := path.suffix.lower()) in required:
            found = True
        elif suffix not in allowed:
            return False
    return found


def split_in_path(path: PurePosixPath) -> str | None:
    """Return the split that a file is named after, such as "train" for data/train-00000-of-00002.parquet, or None."""
    words = re.split(r"[^a-z]+", str(path).lower())
    splits = list(dict.fromkeys(split for word in words if (split := split_name(word))))
    return splits[0] if len(splits) == 1 else None


def check_same_columns(where: str, first: pyarrow.Schema, schema: pyarrow.Schema, names: Sequence[str]) -> None:
    """Raise InputError if a column is missing in a part of a dataset, or has another type than in the first part.

    Args:
        where: name of the part, for messages.
        first: names and types of the columns in the first part.
        schema: names and types of the columns in the part to check.
        names: the columns to compare. The first part has all of them.
    """
    for name in names:
        if name not in schema.names:
            raise InputError(
                f"{where}: the column {name!r} is missing, but the first part has it; found the columns "
                f"{', '.join(schema.names)}; write all parts with the same columns"
            )
        if schema.field(name).type != first.field(name).type:
            raise InputError(
                f"{where}: column {name!r} has type {schema.field(name).type}, but {first.field(name).type} in the "
                "first part; write the parts with the same types"
            )
