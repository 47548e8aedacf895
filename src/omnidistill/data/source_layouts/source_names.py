"""What the names of files and columns say: the split of a file, and whether all parts have the same columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from omnidistill.core.errors import InputError
from omnidistill.data.splits import split_name

if TYPE_CHECKING:
    import pyarrow


def split_in_path(path: PurePosixPath) -> str | None:
    """Return the split that a file is named after, such as "train" for data/train-00000-of-00002.parquet, or None."""
    words = re.split(r"[^a-z]+", str(path).lower())
    splits = list(dict.fromkeys(split for word in words if (split := split_name(word))))
    return splits[0] if len(splits) == 1 else None


def check_same_columns(where: str, first: pyarrow.Schema, schema: pyarrow.Schema, names: Sequence[str]) -> None:
    """Raise InputError if a part of a dataset does not have the columns of the first part, with the same types."""
    for name in names:
        if name not in schema.names:
            raise InputError(
                f"{where}: the column {name!r} is missing, which the first part has; found {', '.join(schema.names)}"
            )
        if schema.field(name).type != first.field(name).type:
            raise InputError(
                f"{where}: column {name!r} has type {schema.field(name).type}, but {first.field(name).type} in the "
                "first part; write the parts with the same types"
            )
