"""Collect facts about files that other tools can read too: manifests of media items, tables of rows, exported sets.

An export is recognised by its metadata. Any other table is read as a manifest or, if that fails, as input of `pack`.
"""

from __future__ import annotations

import math
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from omnidistill.core.errors import InputError
from omnidistill.core.optional import require
from omnidistill.data.sources import read_npy_header
from omnidistill.encoding.manifests.manifest import read_manifest
from omnidistill.experiments.inspection.artifact_facts import provenance
from omnidistill.experiments.inspection.findings import Facts, Finding, TensorFacts
from omnidistill.experiments.inspection.table_facts import pack_table
from omnidistill.experiments.sharing.export import METADATA
from omnidistill.io.input_files import open_input, parse_json, read_json, regular_file

DATASET = "dataset_info.json"
"""File that identifies a folder written by the `datasets` library."""


def table(path: Path) -> Finding:
    """Describe a manifest, a table for `pack` or a Parquet export. Raises InputError if the table is none of these."""
    if path.suffix.lower() == ".parquet" and (finding := _parquet(path)) is not None:
        return finding
    try:
        manifest = read_manifest(path)
    except InputError as error:
        return _table_without_media(path, error)
    rows = manifest.rows
    facts: Facts = {
        "rows": len(manifest),
        "groups": len({row.group for row in rows}),
        "splits": dict(Counter(row.split for row in rows)),
        "modalities": manifest.kinds,
        "items": {name: sum(name in row.media for row in rows) for name in manifest.kinds},
        "stretches": sum(row.start is not None or row.end is not None for row in rows),
    }
    return Finding(path, "manifest", facts, path.stat().st_size, None)


def _table_without_media(path: Path, not_manifest: InputError) -> Finding:
    """Describe a table for `pack`. `not_manifest` is the error from reading the table as a manifest."""
    try:
        return pack_table(path)
    except InputError as error:
        raise InputError(
            f"{path}: not a valid manifest ({not_manifest}), not a valid table for 'omnidistill pack' ({error}), and "
            "not written by 'omnidistill export'; correct the table"
        ) from error


def arrays(path: Path) -> Finding:
    """Describe an npz export; for any other npz file, list the names and shapes of its arrays.

    Only the array headers and the metadata are read, and nothing is unpickled.

    Raises:
        InputError: the file is not a valid npz file.
    """
    try:
        tensors, text = _arrays(path)
    except Exception as error:  # NumPy and zipfile raise many types of exceptions for damaged files
        raise InputError(f"{path}: cannot be read as .npz ({' '.join(str(error).split())}); create it again") from error
    facts: Facts = {"arrays": list(tensors)} if text is None else _exported(path, text)
    return Finding(path, "arrays" if text is None else "export", facts, path.stat().st_size, None, tensors)


def _arrays(path: Path) -> tuple[dict[str, TensorFacts], str | None]:
    """Return dtypes and shapes from the array headers, and the metadata if the file is an export (otherwise None)."""
    tensors = {}
    with open_input(path) as file, zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                shape, dtype = read_npy_header(member)
            kind = f"{_KINDS.get(dtype.kind, 'OTHER')}{'' if dtype.kind == 'b' else 8 * dtype.itemsize}"
            tensors[name.removesuffix(".npy")] = TensorFacts(kind, shape, dtype.itemsize * math.prod(shape))
    metadata = tensors.get("metadata")
    if metadata is None or metadata.shape or metadata.dtype[:4] != "TEXT" or metadata.bytes > _LONGEST:
        return tensors, None
    with open_input(path) as file, np.load(file, allow_pickle=False) as arrays:
        return {name: x for name, x in tensors.items() if name not in ("id", "metadata")}, str(arrays["metadata"])


def dataset(path: Path, verify: bool) -> Finding:
    """Describe a folder in the format of the Hugging Face `datasets` library.

    If `omnidistill export` wrote the folder, return the facts about the exported set. Otherwise list only the columns.
    `verify` has no effect, because these folders have no checksums.
    """
    info = read_json(path / DATASET)
    num_bytes = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    try:
        return Finding(path, "export", _exported(path, str(info.get("description"))), num_bytes, None)
    except InputError:
        columns = info.get("features") or {}
        return Finding(path, "dataset", {"columns": list(columns)}, num_bytes, None)


def _parquet(path: Path) -> Finding | None:
    """Describe a Parquet file that `omnidistill export` wrote; return None for any other Parquet file."""
    parquet = require("pyarrow.parquet", "parquet")
    regular_file(path, follow_links=True)
    try:
        table_metadata = parquet.read_metadata(path)
    except Exception as error:  # pyarrow too raises many types of exceptions
        raise InputError(
            f"{path}: cannot be read as Parquet ({' '.join(str(error).split())}); create it again"
        ) from error
    text = (table_metadata.metadata or {}).get(METADATA.encode())
    if text is None:
        return None
    schema = table_metadata.schema.to_arrow_schema()
    num_rows = table_metadata.num_rows
    widths = {field.name: field.type.list_size for field in schema if hasattr(field.type, "list_size")}
    tensors = {name: TensorFacts("F32", (num_rows, width), 4 * num_rows * width) for name, width in widths.items()}
    facts = _exported(path, text.decode(errors="replace"))
    return Finding(path, "export", facts, path.stat().st_size, None, tensors)


def _exported(path: Path, text: str) -> Facts:
    """Return the facts in the metadata (`text`) of a file that `omnidistill export` wrote.

    Raises:
        InputError: the text is not metadata of such a file.
    """
    try:
        meta: Mapping[str, Any] = parse_json(text)
        return {
            "method": meta["config"]["method"],
            "rows": meta["config"]["distill"]["size"],
            "modalities": meta["modalities"],
            "recipe": meta["recipe"],
            "seed": meta["config"]["seed"],
            **provenance(meta["provenance"]),
        }
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: the metadata of this file was not written by 'omnidistill export'; export the set again"
        ) from error


_KINDS = {"f": "F", "i": "I", "u": "U", "b": "BOOL", "U": "TEXT"}
_LONGEST = 1 << 26  # maximum size of the metadata in bytes

FILES: dict[str, Callable[[Path], Finding]] = {".csv": table, ".jsonl": table, ".parquet": table, ".npz": arrays}
"""Functions that describe files, by suffix."""
