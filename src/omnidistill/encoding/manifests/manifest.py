"""The manifest: a table of items to encode, one per row, with a file or a text for each modality.

    id                   required
    group                default: the id
    split                default: train
    start, end           clip of the item's files, in seconds; optional
    KIND or NAME:KIND    one column per modality, such as `audio` or `speech:audio`

KIND is `video`, `audio`, `image` or `text`. A cell of a modality contains a text, or the path of a file relative to the
root of the manifest. It is empty if the item lacks the modality. A cell with a list, such as several captions, becomes
several rows of one group (see `data.list_cells`).

Formats: .csv, .tsv, .jsonl, .parquet.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

from omnidistill.core.errors import InputError, nearest
from omnidistill.data.list_cells import expand_lists
from omnidistill.data.media_kinds import KINDS, Kind
from omnidistill.data.names import SPLITS, check_encodable, check_modality_names
from omnidistill.data.splits import split_name
from omnidistill.data.table import Table, read_table, text_column

Missing = Literal["drop", "fail"]
"""What to do about items that cannot be used: "drop" drops and counts them, "fail" raises InputError."""

_OWN = ("id", "group", "split", "start", "end")
ADDRESS = re.compile(r"[a-zA-Z][\w+.-]*://")
"""The start of a URL, which may replace the path of a media file."""


@dataclass(frozen=True)
class Row:
    """One item.

    Attributes:
        id: unique in the manifest.
        group: name of the group. Items in the same group count as correct matches of each other.
        split: train, validation or test.
        media: {modality: path relative to the root, or text}. Modalities that the item lacks are omitted.
        start: start of the clip within the files, in seconds; None means the start of the file.
        end: end of the clip within the files, in seconds; None means the end of the file.
        place: where the row is in its file, such as "line 5", for messages; empty if it was not read from a file.
    """

    id: str
    group: str
    split: str
    media: dict[str, str]
    start: float | None = None
    end: float | None = None
    place: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class Manifest:
    """Table of items with their modalities. Rows are validated on construction, but files are not opened.

    Attributes:
        rows: the items. Ids are unique, and all rows of a group are in the same split.
        kinds: {modality: kind}.
        root: the folder that contains all files.
        addresses: whether URLs (http:// and https://) are allowed instead of paths.

    Raises:
        InputError: a row is invalid, for example because it contains an absolute path, `..`, or a URL that is not
            allowed. The message names the row and the column.
    """

    rows: tuple[Row, ...]
    kinds: dict[str, Kind]
    root: Path
    addresses: bool = False

    def __post_init__(self) -> None:
        _check_kinds(self.kinds)
        if not self.rows:
            raise InputError("the manifest has no rows; it needs one row per item")
        ids: dict[str, str] = {}
        splits: dict[str, str] = {}
        for number, row in enumerate(self.rows):
            place = row.place or f"row {number}"
            _check_row(place, row, self.kinds, self.addresses)
            if (first := ids.setdefault(row.id, place)) != place:
                raise InputError(f"{place}, column 'id': {row.id!r} is also the id of {first}; ids must be unique")
            if (split := splits.setdefault(row.group, row.split)) != row.split:
                raise InputError(
                    f"{place}, column 'split': group {row.group!r} has rows in the splits {split!r} and "
                    f"{row.split!r}; put all rows of a group in the same split"
                )

    def __len__(self) -> int:
        return len(self.rows)

    def content(self, row: Row, modality: str) -> Path | str:
        """Return the content of a cell. A text or URL is unchanged, and a path is joined to the root.

        Raises:
            InputError: the path leaves the root through a symbolic link.
        """
        cell = row.media[modality]
        if self.kinds[modality] == "text" or ADDRESS.match(cell):
            return cell
        path = self.root / cell
        try:
            inside = path.resolve().is_relative_to(self._real_root)
        except (OSError, RuntimeError) as error:  # circular links
            raise InputError(
                f"id {row.id!r}, {modality}: the path {path} cannot be resolved ({error}); check its symbolic links"
            ) from error
        if not inside:
            raise InputError(
                f"id {row.id!r}, {modality}: {path} leads out of {self.root} through a symbolic link; "
                "use a file in this folder"
            )
        return path

    @cached_property
    def _real_root(self) -> Path:
        return self.root.resolve()


def read_manifest(
    path: Path,
    root: Path | None = None,
    addresses: bool = False,
    other_columns: bool = False,
    separator: str | None = None,
) -> Manifest:
    """Read a manifest. The splits `val`, `valid` and `dev` are read as `validation`.

    Args:
        path: a .csv, .tsv, .jsonl or .parquet file.
        root: folder to which the paths are relative; None uses the folder that contains the manifest.
        addresses: whether URLs (http:// and https://) are allowed instead of paths.
        other_columns: whether the table may have columns that do not belong to a manifest. They are ignored.
        separator: character between the columns of a .csv or .tsv file; None detects it.

    Raises:
        InputError: the table cannot be read, a column has an unknown name, or the `Manifest` is invalid. The message
            names the file, the line and the column.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; create its manifest first, with 'omnidistill manifest'")
    columns = read_table(path, separator)
    purpose = f"a manifest has the column id and one per modality, such as {', '.join(KINDS)}"
    text_column(path, columns, "id", purpose)
    try:
        modalities = {
            column: _modality(column)
            for column in columns
            if column not in _OWN and not (other_columns and column.rpartition(":")[2] not in KINDS)
        }
        columns = expand_lists(columns, list(modalities))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    ids = text_column(path, columns, "id", "")
    groups = text_column(path, columns, "group", "") if "group" in columns else ids
    splits = text_column(path, columns, "split", "") if "split" in columns else ("train",) * len(ids)
    try:
        names = [name for name, _ in modalities.values()]
        if len(set(names)) < len(names):
            raise InputError(
                f"two of the columns {', '.join(modalities)} are for the same modality; rename one of them"
            )
        cells = {column: _cells(columns, column, _text) for column in modalities}
        times = {name: _cells(columns, name, _seconds) for name in ("start", "end")}
        rows = tuple(
            Row(
                ids[number],
                groups[number],
                split_name(splits[number]) or splits[number],
                {name: cell for column, (name, _) in modalities.items() if (cell := cells[column][number]) is not None},
                times["start"][number],
                times["end"][number],
                columns.place(number),
            )
            for number in range(len(ids))
        )
        return Manifest(rows, dict(modalities.values()), path.parent if root is None else root, addresses)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _check_kinds(kinds: dict[str, Kind]) -> None:
    check_modality_names(kinds)
    if not kinds:
        raise InputError(
            "the manifest has no modality column; "
            f"add a column named {', '.join(KINDS)} or NAME:KIND, such as speech:audio"
        )
    for name in kinds:
        if name in _OWN:
            raise InputError(
                f"modality {name!r}: this column name has another meaning in a manifest; rename the modality"
            )


def _check_row(place: str, row: Row, kinds: dict[str, Kind], addresses: bool) -> None:
    if row.split not in SPLITS:
        raise InputError(
            f"{place}, column 'split': unknown split {row.split!r}; "
            f"choose from {', '.join(SPLITS)}{nearest(row.split, SPLITS)}"
        )
    for name in ("start", "end"):
        value = getattr(row, name)
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InputError(f"{place}, column {name!r}: found {value}; enter a finite number of seconds, at least 0")
    if row.end is not None and row.end <= (row.start or 0.0):
        raise InputError(f"{place}, column 'end': the end ({row.end} s) must be after the start ({row.start or 0.0} s)")
    for name, cell in row.media.items():
        problem = _path_problem(cell, addresses) if kinds[name] != "text" else ""
        if problem:
            raise InputError(f"{place}, column {name!r}: cannot use {cell!r}, because it {problem}")


def _path_problem(cell: str, addresses: bool) -> str:
    """Return why the path in a cell is invalid or leads outside the root; an empty string if the path is valid."""
    if ADDRESS.match(cell):
        allowed = addresses and cell.lower().startswith(("http://", "https://"))
        return "" if allowed else "is a URL; download the file first, or allow URLs"
    if PurePosixPath(cell).is_absolute() or PureWindowsPath(cell).anchor:
        return "is an absolute path; paths are relative to the root"
    if ".." in PurePosixPath(cell).parts or ".." in PureWindowsPath(cell).parts:
        return "contains '..'; paths must stay inside the root"
    return "is not a file name" if "\0" in cell else ""


def _modality(column: str) -> tuple[str, Kind]:
    name, _, kind = column.rpartition(":")
    if kind not in KINDS:
        raise InputError(
            f"column {column!r} is unknown; expected one of {', '.join(_OWN)}, or a modality column named KIND or "
            f"NAME:KIND, where KIND is one of {', '.join(KINDS)}{nearest(kind, (*_OWN, *KINDS))}"
        )
    return name or kind, kind


def _cells(table: Table, column: str, parse: Callable[[object], Any]) -> list[Any]:
    """Return the parsed cells of a column. Empty cells, and all cells of a missing column, give None."""
    parsed = []
    for number, value in enumerate(table.get(column, [None] * len(table["id"]))):
        try:
            parsed.append(None if value is None or value == "" else parse(value))
        except InputError as error:
            raise InputError(f"{table.place(number)}, column {column!r}: {error}") from error
        except (ValueError, TypeError) as error:
            raise InputError(f"{table.place(number)}, column {column!r}: found {value!r}, expected {error}") from error
    return parsed


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text or a path")
    check_encodable(value, "text")
    return value


def _seconds(value: object) -> float:
    try:
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise ValueError("a number of seconds")
