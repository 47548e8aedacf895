"""Packing: create a FeatureSet and a report from feature tensors and a table.

If the input is invalid, nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.data.datasets import load
from omnidistill.data.duplicates import Duplicates, code_rows, find_leaks, repeated_in_test
from omnidistill.data.featureset import FeatureSet, prepare_rows
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.data.raw_input import read_raw
from omnidistill.data.raw_rows import RawRows
from omnidistill.data.recentre import Prepared, steps_of
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
        widths: {modality: feature width}.
        dtypes: {modality: dtype of the features before they were packed}.
        duplicates: leaks that remain: test rows that also occur in another split, and validation rows that also
            occur in `heads` or `train`.
        dropped: rows that were dropped because of `drop_leaks`.
        merged: groups that were merged because of `merge_duplicates`.
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
    like: Prepared | str | Path | None = None,
    merge_duplicates: bool | Sequence[str] = False,
    drop_leaks: bool | Sequence[str] = False,
    name: str | None = None,
    force: bool = False,
) -> PackReport:
    """Read features and a table, and preprocess the rows. If `out` is given, save the rows there, ordered by split.

    Two rows are identical if all their values in at least one modality are equal in float32. A row is a *leak* if it is
    outside the test split and identical to a test row, or if it is in `train` or `heads` and identical to a validation
    row. (The optional split `heads` is for pre-training the projection heads.) Leaks are reported.

    Args:
        features: file or folder with features (.npz, .safetensors, .parquet, a folder of .npy files); clip-retrieval
            folder; folder of `Dataset.save_to_disk` or of Parquet files; `datasets.Dataset` or `DatasetDict`; the name
            "hub:OWNER/NAME" of a dataset on the Hugging Face Hub; or .tar shards with .npy members.
        table: .jsonl, .csv, .tsv or .parquet file with the id, group and split of every feature row, in the order of
            the features. None reads these columns from `features`.
        modalities: {modality: name of its array or column in `features`}, or a list with elements such as "image" or
            "image=clip_vectors" (modality=name). None uses all arrays or columns that contain features.
        id_column, group_column, split_column: names of the columns with the id, group and split of each row. If there
            is no column "group", every row is its own group. If `table` is None, "id" and "split" may also be missing.
            Rows without ids are numbered. Rows without splits are training rows, and if there is no validation or test
            split, training groups are drawn at random for it.
        separator: character between the columns of a .csv or .tsv table; None detects commas, semicolons, tabs and
            vertical bars.
        name: name of the dataset, for reports and cards. None uses the name of `features` without its suffix.
        out: folder of the feature set; None: in memory only.
        standardise, centre: preprocessing steps, see `data.preprocessing`.
        like: a dataset or a synthetic set, or the name or Path of a dataset. Its preprocessing, including the means, is
            applied to the rows. (Synthetic sets can be merged only if their means are equal.) None uses the means of
            the train rows.
        merge_duplicates: True merges groups of the same split that contain identical rows, after leaks are dropped. All
            rows of a merged group are positives of each other. With a list, only these modalities are compared.
        drop_leaks: True first drops rows of other splits that are identical to a test row, then rows of `heads` and
            `train` that are identical to one of the remaining validation rows. With a list, only these modalities are
            compared.
        force: whether to replace a set that is already in `out`.

    Returns:
        The set, and a summary of its rows.

    Raises:
        InputError: the input is invalid, its modalities or widths differ from those of `like`, `like` is given but
            `standardise` or `centre` is False, `drop_leaks` would leave a split without rows, or `out` is not empty and
            `force` is False. Any error leaves `out` unchanged.
    """
    if out is not None:
        require_new_folder(Path(out), force)
    other = None if like is None else _other_set(like, standardise, centre)
    choice = Choice.of(modalities, id_column, group_column, split_column)
    rows = read_raw(features, table, choice, name, separator)
    steps = None if other is None else steps_of(other, rows.widths, argument("like"))
    place = None if out is None else Path(out)
    repaired = repair(rows, code_rows(rows), drop_leaks, merge_duplicates)
    notes = _repair_notes(repaired, bool(drop_leaks), bool(merge_duplicates))
    if place is None:
        data = prepare_rows(repaired.raw, repaired.rows.numbers, standardise, centre, steps)
        return _report(rows, repaired, data, notes, like is not None)
    prepared = prepare_raw(repaired.raw, standardise, centre, repaired.rows.numbers, steps)
    report = _report(rows, repaired, prepared.outline, notes, like is not None)
    return replace(report, data=prepared.save(place).at(str(place.resolve())))


def _other_set(like: Prepared | str | Path, standardise: bool, centre: bool) -> Prepared:
    """Return the set given by `like`, and load it if `like` is a name or a path."""
    if not (standardise and centre):
        raise InputError(
            f"{argument('like')}: the preprocessing is copied from the other set, so standardising and centring "
            f"cannot be disabled; enable both, or omit {argument('like')}"
        )
    if isinstance(like, Prepared):
        return like
    return load(like)


def _report(
    raw: RawRows, repaired: Repaired, prepared: FeatureSet, repair_notes: list[str], like_other: bool
) -> PackReport:
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
            _steps(prepared.preprocessing, f"another set ({argument('like')})" if like_other else "the train rows"),
            *(map(str, notes) if isinstance(notes, list) else ()),
            *repair_notes,
            *advice,
        ),
        data=prepared,
    )


def _dtypes(raw: RawRows) -> dict[str, str]:
    dtypes = raw.provenance["dtypes"]
    return {name: str(dtype) for name, dtype in dtypes.items()} if isinstance(dtypes, dict) else {}


def _steps(steps: Preprocessing, mean_of: str) -> str:
    rows = "rows are standardised" if steps.standardise else "rows are not standardised"
    return f"{rows}, {f'centred on the mean of {mean_of}' if steps.means else 'not centred'}"


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
