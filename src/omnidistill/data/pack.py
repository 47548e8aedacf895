"""Packing: feature tensors and a table become a stored FeatureSet and a report. Invalid input writes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.data.duplicates import Duplicates, across_splits, digest_rows, repeated_in_test
from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.data.raw import RawFeatures
from omnidistill.data.raw_rows import RawRows
from omnidistill.data.sources import read_sources
from omnidistill.data.store import prepare_raw
from omnidistill.data.table import read_splits, read_table, text_column


@dataclass(frozen=True)
class PackReport:
    """The set that `pack` created, and a summary of its rows.

    Attributes:
        rows: {split: number of rows}.
        groups: number of groups.
        widths: {modality: p_m}.
        dtypes: {modality: type of the numbers in the source file}.
        duplicates: test rows that also occur in other splits.
        notes: notes for the user, one fact each.
        data: the set.
    """

    rows: dict[str, int]
    groups: int
    widths: dict[str, int]
    dtypes: dict[str, str]
    duplicates: tuple[Duplicates, ...]
    notes: tuple[str, ...]
    data: FeatureSet = field(repr=False, compare=False)

    def table(self) -> str:
        """Return the report as text, one fact per line."""
        return "\n".join(self.lines())

    def to_json(self) -> dict[str, Any]:
        """Return the summary, without the set, as JSON values."""
        return {
            **{each.name: getattr(self, each.name) for each in fields(self) if each.name != "data"},
            "duplicates": [asdict(each) for each in self.duplicates],
        }

    def lines(self) -> list[str]:
        """Return the report, one fact per line."""
        splits = ", ".join(f"{split} {count:,}" for split, count in self.rows.items())
        widths = ", ".join(f"{name} {width} wide ({self.dtypes[name]})" for name, width in self.widths.items())
        return [
            f"{sum(self.rows.values()):,} rows in {self.groups:,} groups: {splits}",
            f"{len(self.widths)} modalities: {widths}",
            *(_warning(duplicates) for duplicates in self.duplicates),
            *(f"note   {note}" for note in self.notes),
        ]


def read_raw(
    features: Path,
    table: Path | None,
    id_column: str = "id",
    group_column: str = "group",
    split_column: str = "split",
) -> RawFeatures:
    """Read features and a table with ids, groups and splits.

    Args:
        features: file or folder; see `data.sources.read_sources`.
        table: .jsonl, .csv or .parquet file with rows in the order of the tensors. None uses the remaining columns of
            `features`, which must then be a Parquet file.
        id_column: column with the unique id of each row.
        group_column: column with the group of each row. If the table has no column "group", every row gets a separate
            group.
        split_column: column with the split of each row. `val`, `valid` and `dev` are read as `validation`.

    Returns:
        The features in their stored types. Their provenance lists the types, the notes, and the sha256 of each file.

    Raises:
        InputError: a file is invalid, the table or a column is missing, or parts differ in their number of rows.
    """
    place = features if table is None else table
    if table is None and features.suffix.lower() != ".parquet":
        raise InputError(
            f"{features}: no table given; pass a table (.jsonl, .csv or .parquet) with ids, groups and splits"
        )
    tensors, files = read_sources(features)
    columns = read_table(place)
    ids = text_column(place, columns, id_column, "every row needs a unique id")
    splits, notes = read_splits(place, columns, split_column)
    if group_column == "group" and group_column not in columns:
        groups = ids
        notes.append("no column 'group': every row gets a separate group and is a positive only of itself")
    else:
        groups = text_column(place, columns, group_column, "rows in the same group are positives of each other")
    if "heads" not in splits:
        notes.append("no 'heads' split: projection heads start from random values unless you pass pre-trained heads")
    sources = files if table is None else (*files, table)
    return RawFeatures(
        tensors,
        ids,
        groups,
        splits,
        provenance={
            "name": features.stem,
            "sources": {file.name: _sha256(file) for file in sources},
            "dtypes": {**_dtypes(tensors)},
            "notes": [*notes],
        },
    )


def pack(
    features: Path,
    table: Path | None = None,
    out: str | Path | None = None,
    *,
    id_column: str = "id",
    group_column: str = "group",
    split_column: str = "split",
    standardise: bool = True,
    centre: bool = True,
) -> PackReport:
    """Read features and a table, and preprocess the rows. If `out` is given, save the rows there, ordered by split.

    While a set is saved, memory holds only one chunk of rows if the tensors can be memory-mapped (.npy, .safetensors).

    Args:
        features, table, id_column, group_column, split_column: see `read_raw`.
        out: folder for the feature set. None creates the set only in memory.
        standardise, centre: whether to apply these preprocessing steps; see `data.preprocessing`.

    Returns:
        The set, and a summary of its rows.

    Raises:
        InputError: the input is invalid. `out` is then unchanged.
    """
    raw = read_raw(features, table, id_column, group_column, split_column)
    place = None if out is None else Path(out)
    if place is None:
        return _report(raw, prepare(raw, standardise, centre))
    prepared = prepare_raw(RawRows.of(raw), standardise, centre)
    report = _report(raw, prepared.outline)
    return replace(report, data=prepared.save(place).at(str(place.resolve())))


def _report(raw: RawFeatures, prepared: FeatureSet) -> PackReport:
    notes = raw.provenance.get("notes")
    digests = digest_rows(raw)
    repeats = [
        f"{count:,} test rows have the same {name} features as a row in another group; put both in one group if both "
        "are right answers"
        for name, count in repeated_in_test(raw, digests).items()
    ]
    return PackReport(
        rows=prepared.split_sizes,
        groups=len(set(raw.groups)),
        widths=prepared.widths,
        dtypes=_dtypes(raw.features),
        duplicates=across_splits(raw, digests),
        notes=(_steps(prepared.preprocessing), *(map(str, notes) if isinstance(notes, list) else ()), *repeats),
        data=prepared,
    )


def _dtypes(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    return {name: str(x.dtype).removeprefix("torch.") for name, x in tensors.items()}


def _steps(steps: Preprocessing) -> str:
    rows = "rows are standardised" if steps.standardise else "rows are not standardised"
    return f"{rows}, {'centred on the mean of the train rows' if steps.means else 'not centred'}"


def _warning(duplicates: Duplicates) -> str:
    pairs = ", ".join(f"{test!r} = {other!r}" for test, other in duplicates.examples)
    if duplicates.modality is None:
        return f"WARNING: {duplicates.rows:,} test rows equal a row in another split in every modality (leak): {pairs}"
    return f"{duplicates.rows:,} test rows have the same {duplicates.modality} row as another split: {pairs}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
