"""Packing: create a FeatureSet and a report from feature tensors and a table.

If the input is invalid, nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from omnidistill.core.arguments import argument
from omnidistill.data.duplicates import Duplicates, code_rows, find_leaks, repeated_in_test
from omnidistill.data.featureset import FeatureSet, prepare_rows
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.data.raw_input import read_raw
from omnidistill.data.raw_rows import RawRows
from omnidistill.data.repairs import DroppedRows, MergedGroups, Repaired, repair
from omnidistill.data.source_layouts import Choice, Source
from omnidistill.data.store import prepare_raw
from omnidistill.io.artifacts import require_new_folder


@dataclass(frozen=True)
class PackReport:
    """The set that `pack` created, and a summary of its rows.

    Attributes:
        rows: {split: number of rows}.
        groups: number of groups.
        widths: {modality: width of its rows}.
        dtypes: {modality: type in the source}.
        duplicates: leaks that remain: test rows that also occur in other splits, and validation rows that also occur in
            the splits `heads` or `train`.
        dropped: rows that the option `drop_leaks` removed.
        merged: groups that the option `merge_duplicates` merged.
        notes: notes for the user, one fact each.
        data: the set.
    """

    rows: dict[str, int]
    groups: int
    widths: dict[str, int]
    dtypes: dict[str, str]
    duplicates: tuple[Duplicates, ...]
    dropped: tuple[DroppedRows, ...]
    merged: tuple[MergedGroups, ...]
    notes: tuple[str, ...]
    data: FeatureSet = field(repr=False, compare=False)

    def table(self) -> str:
        """Return the report as text, one fact per line."""
        return "\n".join(self.lines())

    def to_json(self) -> dict[str, Any]:
        """Return the summary, without the set, as JSON values."""
        return {
            **{each.name: getattr(self, each.name) for each in fields(self) if each.name != "data"},
            **{name: [asdict(each) for each in getattr(self, name)] for name in ("duplicates", "dropped", "merged")},
        }

    def lines(self) -> list[str]:
        """Return the report, one fact per line."""
        splits = ", ".join(f"{split} {count:,}" for split, count in self.rows.items())
        widths = ", ".join(f"{name} {width} wide ({self.dtypes[name]})" for name, width in self.widths.items())
        return [
            f"{sum(self.rows.values()):,} rows in {self.groups:,} groups: {splits}",
            f"{len(self.widths)} modalities: {widths}",
            *(f"warning {_leak(duplicates, self.rows[duplicates.split])}" for duplicates in self.duplicates),
            *(f"note   {note}" for note in self.notes),
        ]


def pack(
    features: Source,
    table: Path | None = None,
    out: str | Path | None = None,
    *,
    modalities: Mapping[str, str] | Sequence[str] | None = None,
    id_column: str = "id",
    group_column: str = "group",
    split_column: str = "split",
    separator: str | None = None,
    standardise: bool = True,
    centre: bool = True,
    merge_duplicates: bool | Sequence[str] = False,
    drop_leaks: bool | Sequence[str] = False,
    name: str | None = None,
    force: bool = False,
) -> PackReport:
    """Read features and a table, and preprocess the rows. If `out` is given, save the rows there, ordered by split.

    If the features are in files that can be memory-mapped (.npy, .safetensors), saving needs memory for only one chunk
    of rows.

    Two rows are identical if all their values in at least one modality are equal in float32. A *leak* is a row of the
    splits `heads`, `train` or `validation` that is identical to a test row, or a row of `heads` or `train` that is
    identical to a validation row. (The optional split `heads` is for pre-training the projection heads.) Leaks are
    reported. `drop_leaks` removes them.

    `merge_duplicates` merges groups that contain identical rows. It is applied after `drop_leaks` and ignores dropped
    rows. Groups of different splits are never merged.

    Args:
        features: path of a file or folder with features (.npz, .safetensors, .parquet, a folder of .npy files), or data
            as another tool stores it: a clip-retrieval folder, a folder of `Dataset.save_to_disk` or of Parquet files,
            a `datasets.Dataset` or `DatasetDict`, the name "hub:OWNER/NAME" of a dataset on the Hugging Face Hub, or
            .tar shards with .npy members.
        table: .jsonl, .csv, .tsv or .parquet file with the id, group and split of every feature row, in the order of
            the features. None reads these columns from `features`.
        modalities: {modality: its array or column in `features`}, or a list of names; None: all arrays or columns of
            numbers.
        id_column, group_column, split_column: names of the columns with the id, group and split of each row. Without
            a table, these columns may be missing: rows are then numbered, every row is its own group, and missing
            splits consist of groups drawn at random from the training groups.
        separator: character between the columns of a .csv or .tsv table; None detects commas, semicolons, tabs and
            vertical bars.
        name: name of the dataset, for reports and cards. None uses the name of `features` without its suffix.
        out: folder of the feature set; None: in memory only.
        standardise, centre: preprocessing steps, see `data.preprocessing`.
        merge_duplicates: True merges groups of the same split that contain identical rows. All rows of a merged group
            are positives of each other. A list of modalities compares rows only in these modalities.
        drop_leaks: True drops first the rows that are identical to test rows, and then the rows that are identical to
            the remaining validation rows. Test rows are never dropped. A list of modalities compares rows only in these
            modalities.
        force: whether to replace a set that is already in `out`.

    Returns:
        The set, and a summary of its rows.

    Raises:
        InputError: the input is invalid, `drop_leaks` would leave a split without rows, or `out` is not empty and
            `force` is False; `out` is then unchanged.
    """
    if out is not None:
        require_new_folder(Path(out), force)
    choice = Choice.of(modalities, id_column, group_column, split_column)
    rows = read_raw(features, table, choice, name, separator)
    place = None if out is None else Path(out)
    repaired = repair(rows, code_rows(rows), drop_leaks, merge_duplicates)
    notes = _repair_notes(repaired, bool(drop_leaks), bool(merge_duplicates))
    if place is None:
        data = prepare_rows(repaired.raw, repaired.rows.numbers, standardise, centre)
        return _report(rows, repaired, data, notes)
    prepared = prepare_raw(repaired.raw, standardise, centre, repaired.rows.numbers)
    report = _report(rows, repaired, prepared.outline, notes)
    return replace(report, data=prepared.save(place).at(str(place.resolve())))


def _report(raw: RawRows, repaired: Repaired, prepared: FeatureSet, repair_notes: list[str]) -> PackReport:
    notes = raw.provenance.get("notes")
    leaks = find_leaks(repaired.rows)
    dropping, merging = argument("drop_leaks", True), argument("merge_duplicates", True)
    advice = [f"to drop the rows of the other splits that leak: {dropping}"] if leaks else []
    advice += [
        f"{count:,} test rows repeat the {name} row of another group; put them in one group if both are right answers "
        f"({merging})"
        for name, count in repeated_in_test(repaired.rows).items()
    ]
    return PackReport(
        rows=prepared.split_sizes,
        groups=len(set(prepared.groups)),
        widths=prepared.widths,
        dtypes=_dtypes(raw),
        duplicates=leaks,
        dropped=repaired.dropped,
        merged=repaired.merged,
        notes=(
            _steps(prepared.preprocessing),
            *(map(str, notes) if isinstance(notes, list) else ()),
            *repair_notes,
            *advice,
        ),
        data=prepared,
    )


def _dtypes(raw: RawRows) -> dict[str, str]:
    dtypes = raw.provenance["dtypes"]
    return {name: str(dtype) for name, dtype in dtypes.items()} if isinstance(dtypes, dict) else {}


def _steps(steps: Preprocessing) -> str:
    rows = "rows are standardised" if steps.standardise else "rows are not standardised"
    return f"{rows}, {'centred on the mean of the train rows' if steps.means else 'not centred'}"


def _leak(leak: Duplicates, total: int) -> str:
    pairs = ", ".join(f"{row!r} = {other!r}" for row, other in leak.examples)
    kind = "all modalities are" if leak.modality is None else f"{leak.modality} is"
    are = "is" if leak.rows == 1 else "are"
    return (
        f"leak: {leak.rows:,} of {total:,} {leak.split} rows {are} also in {_list(leak.others)} "
        f"({kind} identical): {pairs}"
    )


def _repair_notes(repaired: Repaired, drop_leaks: bool, merge_duplicates: bool) -> list[str]:
    notes = []
    for each in repaired.dropped:
        row = "row" if each.rows == 1 else "rows"
        notes.append(
            f"dropped {each.rows:,} {each.split} {row} identical to {each.identical_to} rows ({each.counts()})"
        )
    if drop_leaks and not repaired.dropped:
        notes.append("no leaks to drop")
    notes += [
        f"merged {each.before:,} {each.split} groups with identical rows into {each.after:,}"
        for each in repaired.merged
    ]
    if merge_duplicates and not repaired.merged:
        notes.append("no groups to merge: no two groups of one split share identical rows")
    return notes


def _list(names: tuple[str, ...]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
