"""Pack: tensors and a table -> a FeatureSet artifact and a report of what was read. Bad input writes nothing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from omnidistill.core.errors import InputError
from omnidistill.data.duplicates import Duplicates, across_splits, digest_rows, repeated_in_test
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.data.raw import RawFeatures
from omnidistill.data.raw_rows import RawRows
from omnidistill.data.sources import read_sources
from omnidistill.data.store import prepare_raw
from omnidistill.data.table import read_splits, read_table, text_column


@dataclass(frozen=True)
class PackReport:
    """What `pack` read.

    rows: {split: rows}. groups: how many. widths: {modality: p_m}. dtypes: {modality: type as given}. duplicates: test
    rows that other splits hold as well. notes: one fact each.
    """

    rows: dict[str, int]
    groups: int
    widths: dict[str, int]
    dtypes: dict[str, str]
    duplicates: tuple[Duplicates, ...]
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """The report for people, one fact a line."""
        splits = ", ".join(f"{split} {count:,}" for split, count in self.rows.items())
        widths = ", ".join(f"{name} {width} wide ({self.dtypes[name]})" for name, width in self.widths.items())
        return [
            f"{sum(self.rows.values()):,} rows in {self.groups:,} groups: {splits}",
            f"{len(self.widths)} modalities: {widths}",
            *(_warning(found) for found in self.duplicates),
            *(f"note   {note}" for note in self.notes),
        ]


def read_raw(
    features: Path,
    table: Path | None,
    id_column: str = "id",
    group_column: str = "group",
    split_column: str = "split",
) -> RawFeatures:
    """Features as stored, with ids, groups and splits from a table whose row order is the tensors' row order.

    features: see `features.sources.read_sources`. table: .jsonl, .csv or .parquet; None: the columns of a Parquet
    `features` file itself. Without a column `group` every row is its own group. Splits `val`, `valid` and `dev` are
    read as `validation`. provenance: the files with their sha256, types as given, and notes.

    Raises InputError for whatever a source or table refuses, no table, missing columns, and counts that differ.
    """
    place = features if table is None else table
    if table is None and features.suffix.lower() != ".parquet":
        raise InputError(f"{features}: no table given; ids, groups and splits come from one (.jsonl, .csv or .parquet)")
    tensors, files = read_sources(features)
    columns = read_table(place)
    ids = text_column(place, columns, id_column, "every row needs a unique id")
    splits, notes = read_splits(place, columns, split_column)
    if group_column == "group" and group_column not in columns:
        groups = ids
        notes.append("no column 'group': every row is its own group, a positive of itself only")
    else:
        groups = text_column(place, columns, group_column, "rows of one group are positives of each other")
    if "heads" not in splits:
        notes.append("no 'heads' split: projection heads start at random unless pretrained ones are given")
    sources = files if table is None else (*files, table)
    return RawFeatures(
        tensors,
        ids,
        groups,
        splits,
        provenance={
            "name": features.stem,
            "sources": {file.name: _sha256(file) for file in sources},
            "dtypes": {name: str(x.dtype).removeprefix("torch.") for name, x in tensors.items()},
            "notes": notes,
        },
    )


def pack(
    features: Path,
    table: Path | None,
    out: Path,
    *,
    id_column: str = "id",
    group_column: str = "group",
    split_column: str = "split",
    standardise: bool = True,
    centre: bool = True,
) -> PackReport:
    """Read (`read_raw`), prepare (as `features.prepare` does) and save a feature set in the folder `out`, its rows
    ordered by split; returns the report. Where the tensors can be mapped (.npy, .safetensors), memory holds a chunk.

    Raises InputError, one line saying what, where and what to do, for bad input; `out` is then as it was.
    """
    raw = read_raw(features, table, id_column, group_column, split_column)
    prepared = prepare_raw(RawRows.of(raw), standardise, centre)
    report = _report(raw, prepared.outline)
    prepared.save(out)
    return report


def _report(raw: RawFeatures, prepared: FeatureSet) -> PackReport:
    digests = digest_rows(raw)
    repeats = [
        f"{count:,} test rows repeat the {name} row of another group; give them one group if either is a right answer"
        for name, count in repeated_in_test(raw, digests).items()
    ]
    return PackReport(
        rows=prepared.split_sizes,
        groups=len(set(raw.groups)),
        widths=prepared.widths,
        dtypes=raw.provenance["dtypes"],
        duplicates=across_splits(raw, digests),
        notes=(_steps(prepared.preprocessing), *raw.provenance["notes"], *repeats),
    )


def _steps(steps: Preprocessing) -> str:
    rows = "rows are standardised" if steps.standardise else "rows are taken as they are, not standardised"
    return f"{rows}, {'centred by the mean of the train rows' if steps.means else 'not centred'}"


def _warning(found: Duplicates) -> str:
    pairs = ", ".join(f"{test!r} = {other!r}" for test, other in found.examples)
    if found.modality is None:
        return f"WARNING: {found.rows:,} test rows equal a row of another split in every modality (leak): {pairs}"
    return f"{found.rows:,} test rows have the {found.modality} row of another split: {pairs}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
