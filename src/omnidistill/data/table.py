"""The table that accompanies feature tensors: ids, groups and splits, with one row per instance in the same order.

Formats: .jsonl (one object per line), .csv and .tsv (with a header line, UTF-8), .parquet. If no separator is given for
a .csv or .tsv file, the header is split at commas, semicolons, tabs or vertical bars, whichever gives the most columns.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError, nearest
from omnidistill.data.arrow_columns import column_values, parquet_columns
from omnidistill.data.names import SPLITS, check_encodable
from omnidistill.data.splits import SYNONYMS, draw_missing
from omnidistill.io.input_files import check_expansion, open_input, parse_json

_CELL_BYTES = 8  # memory for one cell, without its value
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}


class Table(dict[str, list[Any]]):
    """A table as {column: list of values, one per row}.

    Attributes:
        lines: number of the line in which each row ends; empty if the file has no lines (.parquet).
        unread: names of columns that the file has, but that were not read.
    """

    def __init__(self, columns: Mapping[str, list[Any]], lines: Sequence[int] = (), unread: Sequence[str] = ()) -> None:
        super().__init__(columns)
        self.lines: Sequence[int] = lines
        self.unread: Sequence[str] = unread

    def place(self, row: int) -> str:
        """Return where a row is in the file, such as "line 5", for messages; "row 3" if the file has no lines."""
        return f"line {self.lines[row]}" if self.lines else f"row {row}"


def read_table(path: Path, separator: str | None = None) -> Table:
    """Read a table. Values missing from a .jsonl row are None.

    Args:
        path: the file.
        separator: character between the columns of a .csv or .tsv file; None detects it.

    Raises:
        InputError: the file is missing, damaged, in an unknown format or has no rows (the message names the file and
            the line); or the separator is not a single character, or is given for a file without separators.
    """
    separated = partial(_csv, separator=separator)
    readers: dict[str, Callable[[Path], Table]] = {
        ".jsonl": _jsonl,
        ".csv": separated,
        ".parquet": _parquet,
        ".tsv": separated,
    }
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise InputError(f"{path}: unknown format {suffix!r}; supported formats: {', '.join(readers)}")
    if separator is not None:
        _check_separator(separator, path)
    try:
        table = readers[suffix](path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(
            f"{path}: cannot be read as a {suffix} file ({reason}); check its content and permissions"
        ) from error
    if not any(table.values()):
        raise InputError(f"{path}: the table has no rows; it needs one row per item")
    return table


def require_column(path: Path | str, columns: Table, name: str, purpose: str, keyword: str = "") -> None:
    """Raise InputError if a column is missing. The message suggests the closest name.

    Args:
        path: path of the table, used in error messages.
        columns: the table.
        name: name of the column.
        purpose: what the column is needed for, used in error messages.
        keyword: argument with which the user can name another column, used in error messages; "" if there is none.
    """
    if name not in columns:
        known = [*columns, *columns.unread]
        remedy = f"; {argument(keyword, 'NAME')} names a column" if keyword else ""
        raise InputError(
            f"{path}: the column {name!r} is missing ({purpose}); found the columns "
            f"{', '.join(known)}{remedy}{nearest(name, known)}"
        )


def text_column(path: Path | str, columns: Table, name: str, purpose: str, keyword: str = "") -> tuple[str, ...]:
    """Return the values of a column as strings; integers are converted.

    Args:
        path, columns, name, purpose, keyword: see `require_column`.

    Raises:
        InputError: the column is missing, or a value is missing or is neither text nor an integer (the message names
            the line).
    """
    require_column(path, columns, name, purpose, keyword)
    return tuple(_text(path, name, columns.place(row), value) for row, value in enumerate(columns[name]))


def read_splits(
    path: Path | str, columns: Table, name: str, groups: Sequence[str] | None = None
) -> tuple[tuple[str, ...], list[str]]:
    """Return the split of each row, and notes for the user.

    The splits `val`, `valid` and `dev` are read as `validation`, with a note.

    Args:
        path: path of the table, used in error messages.
        columns: the table.
        name: name of the column.
        groups: group of each row, which allows missing splits. If the table has no validation or test rows, training
            groups are drawn at random and moved to the missing split. If the column "split" is missing and `name` is
            "split", all rows are training rows at first. None: the column must exist and contain train, validation
            and test.

    Raises:
        InputError: a value is missing or is not a known split (the message suggests the closest name); the column is
            missing; or train, validation or test still has no rows after the draw.
    """
    given: tuple[str, ...]
    if groups is not None and name == "split" and name not in columns:
        given = ("train",) * len(groups)
    else:
        purpose = "it names the split of every row: train, validation, test or (optionally) heads"
        given = text_column(path, columns, name, purpose, "split_column")
    for row, split in enumerate(given):
        if split not in SPLITS and split not in SYNONYMS:
            raise InputError(
                f"{path}: {columns.place(row)}, column {name!r}: unknown split {split!r}; "
                f"known splits: {', '.join(SPLITS)}{nearest(split, SPLITS)}"
            )
    splits = tuple(SYNONYMS.get(split, split) for split in given)
    splits, drawn = (splits, []) if groups is None else draw_missing(splits, groups)
    for required in ("train", "validation", "test"):
        if required not in splits:
            present = ", ".join(split for split in SPLITS if split in splits)
            raise InputError(
                f"{path}: column {name!r} has no {required!r} rows; found only {present}, "
                "but train, validation and test are required; add rows of the missing split"
            )
    notes = [f"split {split!r} is read as {SYNONYMS[split]!r}" for split in dict.fromkeys(given) if split in SYNONYMS]
    return splits, notes + drawn


def _text(path: Path | str, name: str, place: str, value: object) -> str:
    if isinstance(value, str) and value:
        check_encodable(value, f"{path}: {place}, column {name!r}")
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    description = "missing" if value is None or value == "" else f"{value!r}"
    raise InputError(f"{path}: {place}, column {name!r} is {description}; enter text or an integer")


def _lines(path: Path) -> io.TextIOWrapper:
    """Open a .csv or .jsonl file as UTF-8, with or without a byte order mark. Line breaks are not converted."""
    return io.TextIOWrapper(open_input(path), encoding="utf-8-sig", newline="")


def _jsonl(path: Path) -> Table:
    rows, places = [], []
    with _lines(path) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = parse_json(line, finite=False)
            except ValueError as error:
                raise InputError(
                    f"{path}: line {number} is not JSON ({error}); every line must be a JSON object"
                ) from error
            if not isinstance(row, dict):
                raise InputError(
                    f"{path}: line {number} must be a JSON object, found a {type(row).__name__}; write one JSON object "
                    "per line"
                )
            rows.append(row)
            places.append(number)
    names = _names(rows)
    check_expansion(path, _CELL_BYTES * len(names) * len(rows), "most cells are empty; remove columns")
    return Table({name: [row.get(name) for row in rows] for name in names}, places)


def _names(rows: Iterable[dict[str, Any]]) -> dict[str, None]:
    return {name: None for row in rows for name in row}


def _check_separator(separator: str, path: Path) -> None:
    where = argument("separator", separator)
    if path.suffix.lower() not in (".csv", ".tsv"):
        raise InputError(
            f"{where}: only .csv and .tsv files have a separator, but the table is {path}; omit the separator"
        )
    if len(separator) != 1:
        raise InputError(
            f"{where}: must be a single character, found {len(separator)} characters; pass the character that "
            "separates the columns"
        )
    if separator in '"\r\n':
        raise InputError(f"{where}: quotes and line breaks cannot separate columns; pass another character")


def _csv(path: Path, separator: str | None) -> Table:
    with _lines(path) as file:
        separator = separator or _separator(file)
        reader = csv.reader(file, strict=True, delimiter=separator)
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise InputError(f"{path}: two columns in the header have the same name ({', '.join(header)}); rename one")
        columns: dict[str, list[Any]] = {name: [] for name in header}
        places = []
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise InputError(
                    f"{path}: line {reader.line_num} has {len(row)} cells, but the header has {len(header)}; "
                    f"quote values that contain {_SEPARATORS.get(separator, repr(separator))}"
                )
            for name, value in zip(header, row, strict=True):
                columns[name].append(value)
            places.append(reader.line_num)
    return Table(columns, places)


def _separator(file: io.TextIOWrapper) -> str:
    """Return the separator that gives the header the most columns; a comma if the header has only one column."""
    widths = {}
    for separator in _SEPARATORS:
        try:
            widths[separator] = len(next(csv.reader(file, strict=True, delimiter=separator), []))
        except csv.Error:  # for example a quoted name that another separator follows
            widths[separator] = 0
        file.seek(0)
    return max(widths, key=lambda separator: widths[separator])


def _parquet(path: Path) -> Table:
    return Table({name: column_values(column) for name, column in parquet_columns(path, modalities=False).items()})
