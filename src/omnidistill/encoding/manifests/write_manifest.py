"""Save a manifest, the table of items to encode, as .csv, .jsonl or .parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from omnidistill.core.errors import InputError
from omnidistill.core.optional import require
from omnidistill.data.media_kinds import Kind
from omnidistill.encoding.manifests.manifest import ADDRESS, Manifest
from omnidistill.io.artifacts import write_output


def write_manifest(manifest: Manifest, path: Path, *, force: bool = False) -> None:
    """Save a manifest as .csv, .jsonl or .parquet. Saved paths are relative to the folder that contains `path`.

    Args:
        manifest: the manifest.
        path: file to write. Its suffix selects the format. The file must be in the root of the manifest, or in a folder
            that contains the root.
        force: whether to replace an existing file.

    Raises:
        InputError: the suffix is unknown, the root is outside the folder of `path`, a text is not UTF-8, the file
            exists and `force` is False, the file cannot be written, or pyarrow is not installed.
    """
    writers: dict[str, Callable[[dict[str, list[Any]]], bytes]] = {
        ".csv": _as_csv,
        ".jsonl": _as_jsonl,
        ".parquet": _as_parquet,
    }
    if (suffix := path.suffix.lower()) not in writers:
        raise InputError(f"{path}: unknown file suffix; save the manifest as {', '.join(writers)}")
    times = [name for name in ("start", "end") if any(getattr(row, name) is not None for row in manifest.rows)]
    columns = {name: [getattr(row, name) for row in manifest.rows] for name in ("id", "group", "split", *times)}
    below = _below(manifest.root, path)
    for name, kind in manifest.kinds.items():
        column = name if name == kind else f"{name}:{kind}"
        columns[column] = [_cell(row.media.get(name), kind, below) for row in manifest.rows]
    try:
        data = writers[suffix](columns)
    except UnicodeEncodeError as error:
        raise InputError(
            f"{path}: cannot be written, because a file name or text contains bytes that are not UTF-8: "
            f"{error.object[max(0, error.start - 40) : error.end + 40]!r}; rename this media file or correct this text"
        ) from error
    write_output(path, data, force)


def _below(root: Path, path: Path) -> PurePosixPath:
    """Return the path of the manifest's root, relative to the folder in which the manifest is saved."""
    try:
        return PurePosixPath(root.resolve().relative_to(path.parent.resolve()))
    except ValueError as error:
        raise InputError(
            f"{path}: the media files are in {root}; save the manifest in this folder or in one of its parent folders"
        ) from error


def _cell(cell: str | None, kind: Kind, below: PurePosixPath) -> str | None:
    return cell if cell is None or kind == "text" or ADDRESS.match(cell) else str(below / cell)


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
