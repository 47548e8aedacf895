"""The table beside the tensors: ids, groups and splits, one row per instance, in tensor order.

Formats: .jsonl (one object a line), .csv (comma, header line, UTF-8), .parquet.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omnidistill.core.errors import InputError, nearest
from omnidistill.data.names import SPLITS
from omnidistill.data.sources import parquet_columns

_SYNONYMS = {"val": "validation", "valid": "validation", "dev": "validation"}


def read_table(path: Path) -> dict[str, list[Any]]:
    """{column: one value per row}; a value that a .jsonl row lacks is None.

    Raises InputError, naming file and line, for a file that is missing, damaged, of another format or has no rows.
    """
    readers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    suffix = path.suffix.lower()
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if suffix not in readers:
        raise InputError(f"{path}: expected a table in {', '.join(readers)}")
    try:
        columns = readers[suffix](path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{path}: cannot be read as {suffix} ({reason})") from error
    if not any(columns.values()):
        raise InputError(f"{path}: no rows; the table needs one row per instance")
    return columns


def text_column(path: Path, columns: dict[str, list[Any]], name: str, purpose: str) -> tuple[str, ...]:
    """The values of a column as strings (whole numbers become text); `purpose` says what the column is needed for.

    Raises InputError: with the nearest name if there is no such column, with the row if a value is missing or no text.
    """
    if name not in columns:
        raise InputError(
            f"{path}: no column {name!r}; {purpose}; the columns are {', '.join(columns)}{nearest(name, columns)}"
        )
    return tuple(_text(path, name, row, value) for row, value in enumerate(columns[name]))


def read_splits(path: Path, columns: dict[str, list[Any]], name: str) -> tuple[tuple[str, ...], list[str]]:
    """The split of each row in our names, and a note for each synonym (val, valid, dev) that was read as validation.

    Raises InputError, with the nearest name, for an unknown split, and for train, validation or test without rows.
    """
    given = text_column(path, columns, name, "it says which rows are train, validation, test and, optionally, heads")
    for row, split in enumerate(given):
        if split not in SPLITS and split not in _SYNONYMS:
            raise InputError(
                f"{path}: row {row}, column {name!r}: unknown split {split!r}; "
                f"known are {', '.join(SPLITS)}{nearest(split, SPLITS)}"
            )
    splits = tuple(_SYNONYMS.get(split, split) for split in given)
    for needed in ("train", "validation", "test"):
        if needed not in splits:
            found = ", ".join(split for split in SPLITS if split in splits)
            raise InputError(
                f"{path}: column {name!r}: no {needed!r} rows; found {found}, needed train, validation and test"
            )
    notes = [f"split {split!r} read as {_SYNONYMS[split]!r}" for split in dict.fromkeys(given) if split in _SYNONYMS]
    return splits, notes


def _text(path: Path, name: str, row: int, value: object) -> str:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    found = "missing" if value is None or value == "" else f"{value!r}"
    raise InputError(f"{path}: row {row}, column {name!r} is {found}; expected text or a whole number")


def _jsonl(path: Path) -> dict[str, list[Any]]:
    rows = []
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}: line {number} is not JSON ({error})") from error
            if not isinstance(row, dict):
                raise InputError(f"{path}: line {number} is not a JSON object but {type(row).__name__}")
            rows.append(row)
    return {name: [row.get(name) for row in rows] for name in _names(rows)}


def _names(rows: Iterable[dict[str, Any]]) -> dict[str, None]:
    return {name: None for row in rows for name in row}


def _csv(path: Path) -> dict[str, list[Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise InputError(f"{path}: the header names a column twice: {', '.join(header)}")
        columns: dict[str, list[Any]] = {name: [] for name in header}
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise InputError(f"{path}: line {reader.line_num} has {len(row)} cells, the header has {len(header)}")
            for name, value in zip(header, row, strict=True):
                columns[name].append(value)
    return columns


def _parquet(path: Path) -> dict[str, list[Any]]:
    return {name: column.to_pylist() for name, column in parquet_columns(path, modalities=False).items()}
