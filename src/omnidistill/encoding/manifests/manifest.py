"""The manifest: a table of items to encode, one a row, with a file or a text for each modality.

Columns: `id`; optionally `group` (default: the id), `split` (default: train), `start` and `end` in seconds; and one a
modality, named by its kind (`video`, `audio`, `image`, `text`) or NAME:KIND (`speech:audio`). A cell is a text, or the
path of a file relative to the root; an empty one is a modality that the item lacks. Formats: .csv, .jsonl, .parquet.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal, get_args

from omnidistill.core.errors import InputError, nearest
from omnidistill.core.optional import require
from omnidistill.data.names import SPLITS, check_modality_names
from omnidistill.data.table import read_table, text_column
from omnidistill.io.artifacts import write_atomic

Kind = Literal["video", "audio", "image", "text"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Missing = Literal["drop", "fail"]
"""What becomes of an item that cannot be used: it is left out and counted, or an error."""

_OWN = ("id", "group", "split", "start", "end")
_SYNONYMS = {"val": "validation", "valid": "validation", "dev": "validation"}
_ADDRESS = re.compile(r"[a-zA-Z][\w+.-]*://")


@dataclass(frozen=True)
class Row:
    """One item.

    media: {modality: path relative to the root, or text}, only those that the item has. start, end: the stretch of its
    files that counts, in seconds; None: from the beginning, to the end.
    """

    id: str
    group: str
    split: str
    media: dict[str, str]
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class Manifest:
    """Items with their modalities; validated on construction, the files themselves are not looked at.

    rows: ids are unique, and no group is in two splits. kinds: {modality: kind}. root: the folder that all paths are
    in. addresses: whether http:// and https:// may stand for paths.

    Raises InputError, naming row and column, for anything else: absolute paths, `..`, addresses that are not allowed.
    """

    rows: tuple[Row, ...]
    kinds: dict[str, Kind]
    root: Path
    addresses: bool = False

    def __post_init__(self) -> None:
        _check_kinds(self.kinds)
        if not self.rows:
            raise InputError("no rows; a manifest needs one per item")
        ids: dict[str, int] = {}
        splits: dict[str, str] = {}
        for number, row in enumerate(self.rows):
            _check_row(number, row, self.kinds, self.addresses)
            if (first := ids.setdefault(row.id, number)) != number:
                raise InputError(f"row {number}, column 'id': {row.id!r} is the id of row {first} too; ids are unique")
            if (split := splits.setdefault(row.group, row.split)) != row.split:
                raise InputError(
                    f"row {number}, column 'split': group {row.group!r} is in {split!r} and {row.split!r}; "
                    "a group belongs to one split"
                )

    def __len__(self) -> int:
        return len(self.rows)

    def content(self, row: Row, modality: str) -> Path | str:
        """What a row has of a modality: the file, a path that begins with the root; a text (or an address) as it is.

        Raises InputError for a file that a symbolic link leads to from inside the root to outside.
        """
        given = row.media[modality]
        if self.kinds[modality] == "text" or _ADDRESS.match(given):
            return given
        path = self.root / given
        try:
            inside = path.resolve().is_relative_to(self._real_root)
        except (OSError, RuntimeError) as error:  # links in a circle
            raise InputError(f"id {row.id!r}, {modality}: {path} cannot be followed ({error})") from error
        if not inside:
            raise InputError(f"id {row.id!r}, {modality}: {path} leads out of {self.root} by a symbolic link")
        return path

    @cached_property
    def _real_root(self) -> Path:
        return self.root.resolve()


def read_manifest(path: Path, root: Path | None = None, addresses: bool = False) -> Manifest:
    """The manifest in a file. root: where its paths begin; default: the folder that it is in. addresses: see Manifest.

    The splits `val`, `valid` and `dev` are read as `validation`.
    Raises InputError, naming file, row and column, for a table that cannot be read, columns that are no modality, and
    for whatever a Manifest refuses.
    """
    columns = read_table(path)
    ids = text_column(path, columns, "id", "every item needs a unique id")
    groups = text_column(path, columns, "group", "") if "group" in columns else ids
    splits = text_column(path, columns, "split", "") if "split" in columns else ("train",) * len(ids)
    try:
        modalities = {column: _modality(column) for column in columns if column not in _OWN}
        names = [name for name, _ in modalities.values()]
        if len(set(names)) < len(names):
            raise InputError(f"two columns of one modality: {', '.join(modalities)}")
        cells = {column: _cells(column, columns[column], _text) for column in modalities}
        times = {name: _cells(name, columns.get(name, [None] * len(ids)), _seconds) for name in ("start", "end")}
        rows = tuple(
            Row(
                ids[number],
                groups[number],
                split_name(splits[number]) or splits[number],
                {name: cell for column, (name, _) in modalities.items() if (cell := cells[column][number]) is not None},
                times["start"][number],
                times["end"][number],
            )
            for number in range(len(ids))
        )
        return Manifest(rows, dict(modalities.values()), path.parent if root is None else root, addresses)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def split_name(text: str) -> str | None:
    """The split that a word means, None for any other word: `val`, `valid` and `dev` mean `validation`."""
    split = _SYNONYMS.get(text, text)
    return split if split in SPLITS else None


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Save as .csv, .jsonl or .parquet, by the suffix; paths become relative to the folder that `path` is in.

    Raises InputError for another suffix, a folder that the root is not in, text that is not UTF-8, a file that cannot
    be written, and without pyarrow.
    """
    writers: dict[str, Callable[[dict[str, list[Any]]], bytes]] = {
        ".csv": _as_csv,
        ".jsonl": _as_jsonl,
        ".parquet": _as_parquet,
    }
    if (suffix := path.suffix.lower()) not in writers:
        raise InputError(f"{path}: a manifest is saved as {', '.join(writers)}")
    times = [name for name in ("start", "end") if any(getattr(row, name) is not None for row in manifest.rows)]
    columns = {name: [getattr(row, name) for row in manifest.rows] for name in ("id", "group", "split", *times)}
    below = _below(manifest.root, path)
    for name, kind in manifest.kinds.items():
        column = name if name == kind else f"{name}:{kind}"
        columns[column] = [_cell(row.media.get(name), kind, below) for row in manifest.rows]
    try:
        data = writers[suffix](columns)
    except UnicodeEncodeError as error:
        raise InputError(f"{path}: {error.object[:80]!r} is not UTF-8; rename the file") from error
    write_atomic(path, data)


def _below(root: Path, path: Path) -> PurePosixPath:
    """The way from the folder of the manifest down to the root."""
    try:
        return PurePosixPath(root.resolve().relative_to(path.parent.resolve()))
    except ValueError as error:
        raise InputError(f"{path}: its files are in {root}; save it there, or in a folder above") from error


def _cell(given: str | None, kind: Kind, below: PurePosixPath) -> str | None:
    return given if given is None or kind == "text" or _ADDRESS.match(given) else str(below / given)


def _check_kinds(kinds: dict[str, Kind]) -> None:
    check_modality_names(kinds)
    if not kinds:
        raise InputError(f"no modality; a column is one, named {', '.join(KINDS)}, or NAME:KIND such as speech:audio")
    for name in kinds:
        if name in _OWN:
            raise InputError(f"modality {name!r}: the name of a column that every manifest has; choose another")


def _check_row(number: int, row: Row, kinds: dict[str, Kind], addresses: bool) -> None:
    if row.split not in SPLITS:
        raise InputError(
            f"row {number}, column 'split': unknown split {row.split!r}; "
            f"known are {', '.join(SPLITS)}{nearest(row.split, SPLITS)}"
        )
    for name in ("start", "end"):
        value = getattr(row, name)
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InputError(f"row {number}, column {name!r} is {value}; expected seconds, at least 0")
    if row.end is not None and row.end <= (row.start or 0.0):
        raise InputError(f"row {number}, column 'end': {row.end} s is not after the start, {row.start or 0.0} s")
    for name, cell in row.media.items():
        why = _why_not(cell, addresses) if kinds[name] != "text" else ""
        if why:
            raise InputError(f"row {number}, column {name!r}: {cell!r} {why}")


def _why_not(cell: str, addresses: bool) -> str:
    """Why a cell is no path inside the root, or an empty string."""
    if _ADDRESS.match(cell):
        allowed = addresses and cell.lower().startswith(("http://", "https://"))
        return "" if allowed else "is an address on the network; get the file first, or allow addresses"
    if PurePosixPath(cell).is_absolute() or PureWindowsPath(cell).anchor:
        return "is an absolute path; paths are relative to the root"
    if ".." in PurePosixPath(cell).parts or ".." in PureWindowsPath(cell).parts:
        return "goes up by '..'; paths stay inside the root"
    return "is no file name" if "\0" in cell else ""


def _modality(column: str) -> tuple[str, Kind]:
    name, _, kind = column.rpartition(":")
    if kind not in KINDS:
        raise InputError(
            f"column {column!r}: neither {', '.join(_OWN)} nor a modality, which is named by its kind "
            f"({', '.join(KINDS)}) or NAME:KIND{nearest(kind, (*_OWN, *KINDS))}"
        )
    return name or kind, kind


def _cells(column: str, values: Iterable[object], parse: Callable[[object], Any]) -> list[Any]:
    """Each value, parsed; None where there is none."""
    parsed = []
    for number, value in enumerate(values):
        try:
            parsed.append(None if value is None or value == "" else parse(value))
        except (ValueError, TypeError) as error:
            raise InputError(f"row {number}, column {column!r} is {value!r}; expected {error}") from error
    return parsed


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text or a path")
    return value


def _seconds(value: object) -> float:
    try:
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise ValueError("seconds")


def _as_csv(columns: dict[str, list[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()


def _as_jsonl(columns: dict[str, list[Any]]) -> bytes:
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _as_parquet(columns: dict[str, list[Any]]) -> bytes:
    pyarrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
    kinds = {name: pyarrow.float64() if name in ("start", "end") else pyarrow.string() for name in columns}
    table = pyarrow.table({name: pyarrow.array(values, kinds[name]) for name, values in columns.items()})
    data = io.BytesIO()
    parquet.write_table(table, data)
    return data.getvalue()
