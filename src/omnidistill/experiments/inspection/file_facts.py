"""Files that are for other tools too: tables of items (manifests), and the rows of a set as `export` writes them.

An export is known by the metadata that it carries; a table without them is read as a manifest.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from omnidistill.core.errors import InputError
from omnidistill.core.optional import require
from omnidistill.encoding.manifests.manifest import read_manifest
from omnidistill.experiments.inspection.artifact_facts import provenance
from omnidistill.experiments.inspection.findings import Facts, Finding, TensorFacts
from omnidistill.experiments.sharing.export import METADATA
from omnidistill.io.artifacts import read_json

DATASET = "dataset_info.json"
"""What a folder of the library `datasets` is known by."""


def table(path: Path) -> Finding:
    """A manifest, or an export as Parquet. Raises InputError for any other table."""
    if path.suffix.lower() == ".parquet" and (found := _parquet(path)) is not None:
        return found
    try:
        manifest = read_manifest(path)
    except InputError as error:
        raise InputError(f"{error}; so it is no manifest, and 'export' did not write it") from error
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


def arrays(path: Path) -> Finding:
    """An export as npz; of arrays of others, their names and shapes. Only headers and the metadata are read, nothing is
    unpickled. Raises InputError for a file that is none.
    """
    try:
        tensors, text = _arrays(path)
    except Exception as error:  # parsers of damaged bytes raise many types
        raise InputError(f"{path}: cannot be read as .npz ({' '.join(str(error).split())}); write it again") from error
    facts: Facts = {"arrays": list(tensors)} if text is None else _exported(path, text)
    return Finding(path, "arrays" if text is None else "export", facts, path.stat().st_size, None, tensors)


def _arrays(path: Path) -> tuple[dict[str, TensorFacts], str | None]:
    """What the headers say, and the metadata, if there is a text of that name."""
    tensors = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                first = np.lib.format.read_magic(member) == (1, 0)
                read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(member)
            kind = f"{_KINDS.get(dtype.kind, 'OTHER')}{'' if dtype.kind == 'b' else 8 * dtype.itemsize}"
            tensors[name.removesuffix(".npy")] = TensorFacts(kind, shape, dtype.itemsize * math.prod(shape))
    found = tensors.get("metadata")
    if found is None or found.shape or found.dtype[:4] != "TEXT" or found.bytes > _LONGEST:
        return tensors, None
    with np.load(path, allow_pickle=False) as file:
        return {name: x for name, x in tensors.items() if name not in ("id", "metadata")}, str(file["metadata"])


def dataset(path: Path, verify: bool) -> Finding:
    """An export as a folder of `datasets`; of one of others, its description. `verify` changes nothing: there are no
    checksums.
    """
    info = read_json(path / DATASET)
    num_bytes = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    try:
        return Finding(path, "export", _exported(path, str(info.get("description"))), num_bytes, None)
    except InputError:
        columns = info.get("features") or {}
        return Finding(path, "dataset", {"columns": list(columns)}, num_bytes, None)


def _parquet(path: Path) -> Finding | None:
    """None for a table that `export` did not write."""
    parquet = require("pyarrow.parquet", "parquet")
    try:
        found = parquet.read_metadata(path)
    except Exception as error:  # as above
        raise InputError(f"{path}: cannot be read as Parquet ({' '.join(str(error).split())})") from error
    text = (found.metadata or {}).get(METADATA.encode())
    if text is None:
        return None
    schema = found.schema.to_arrow_schema()
    widths = {field.name: field.type.list_size for field in schema if hasattr(field.type, "list_size")}
    tensors = {
        name: TensorFacts("F32", (found.num_rows, width), 4 * found.num_rows * width) for name, width in widths.items()
    }
    facts = _exported(path, text.decode(errors="replace"))
    return Finding(path, "export", facts, path.stat().st_size, None, tensors)


def _exported(path: Path, text: str) -> Facts:
    """What `export` says of the set. Raises InputError for a text that it did not write."""
    try:
        meta: Mapping[str, Any] = json.loads(text)
        return {
            "method": meta["config"]["method"],
            "rows": meta["config"]["distill"]["size"],
            "modalities": meta["modalities"],
            "recipe": meta["recipe"],
            "seed": meta["config"]["seed"],
            **provenance(meta["provenance"]),
        }
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: its metadata are not those of an export; write it again by 'export'") from error


_KINDS = {"f": "F", "i": "I", "u": "U", "b": "BOOL", "U": "TEXT"}
_LONGEST = 1 << 26  # bytes of metadata

FILES: dict[str, Callable[[Path], Finding]] = {".csv": table, ".jsonl": table, ".parquet": table, ".npz": arrays}
"""By suffix."""
