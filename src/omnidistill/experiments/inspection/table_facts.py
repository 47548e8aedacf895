"""Collect facts about a table for `pack`: its rows, its columns with their types, and what `pack` does with it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from numbers import Number
from pathlib import Path
from typing import Any

from omnidistill.data.arrow_columns import is_number_list, parquet_file
from omnidistill.data.raw_input import read_raw
from omnidistill.data.row_checks import check_groups, check_ids
from omnidistill.data.table import Table, read_splits, read_table, text_column
from omnidistill.experiments.inspection.findings import Facts, Finding


def pack_table(path: Path) -> Finding:
    """Describe a table for `pack`: a Parquet file with features, or a table with the ids of rows, but no features.

    Raises:
        InputError: `pack` does not accept the table.
    """
    types = _column_types(path)
    facts = _with_features(path, types) if any(map(is_number_list, types.values())) else _without_features(path)
    return Finding(path, "table", facts, path.stat().st_size, None)


def _with_features(path: Path, types: Mapping[str, Any]) -> Facts:
    raw = read_raw(path)
    return {
        "rows": len(raw.ids),
        "groups": len(set(raw.groups)),
        "splits": dict(Counter(raw.splits)),
        "widths": dict(raw.widths),
        "columns": {name: str(kind) for name, kind in types.items()},
        "notes": raw.provenance.get("notes"),
        "next": f"omnidistill pack {shlex.quote(str(path))} -o SET",
    }


def _without_features(path: Path) -> Facts:
    columns = read_table(path)
    ids = text_column(path, columns, "id", "every row needs a unique id")
    groups = text_column(path, columns, "group", "") if "group" in columns else ids
    splits, notes = read_splits(path, columns, "split")
    check_ids(ids, columns.place)
    check_groups(groups, splits, columns.place)
    command = f"omnidistill pack --features FEATURES --table {shlex.quote(str(path))} -o SET"
    return {
        "rows": len(ids),
        "groups": len(set(groups)),
        "splits": dict(Counter(splits)),
        "columns": _kinds(columns),
        "notes": notes,
        "next": f"{command} (FEATURES: {len(ids):,} rows per modality, in the order of the table)",
    }


def _column_types(path: Path) -> dict[str, Any]:
    """Return the Arrow types of the columns of a Parquet file; other tables have no types."""
    if path.suffix.lower() != ".parquet":
        return {}
    with parquet_file(path) as file:
        return {field.name: field.type for field in file.schema_arrow}


def _kinds(columns: Table) -> dict[str, str]:
    return {name: _kind(values) for name, values in columns.items()}


def _kind(values: Sequence[Any]) -> str:
    """Return the type of a column and how many values are different or empty: "text (9 different, 2 empty)"."""
    present = [value for value in values if value is not None and value != ""]
    if not present:
        return "empty"
    kind = "number" if all(map(_is_number, present)) else "text" if isinstance(present[0], str) else "other"
    missing = f", {len(values) - len(present):,} empty" if len(present) < len(values) else ""
    return f"{kind} ({len(set(map(str, present))):,} different{missing})"


def _is_number(value: object) -> bool:
    if isinstance(value, Number):
        return not isinstance(value, bool)
    try:
        float(str(value))
    except ValueError:
        return False
    return True
