"""Raw rows from any source that `pack` accepts: feature files with a table, or data in the layout of another tool."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.core.printable import printable
from omnidistill.data.parted_rows import PartedRows
from omnidistill.data.raw_rows import RawRows
from omnidistill.data.row_checks import check_groups, check_ids
from omnidistill.data.source_layouts import Choice, Source, StoredFeatures, as_source, open_layout
from omnidistill.data.sources import read_sources
from omnidistill.data.table import read_splits, read_table, require_column, text_column
from omnidistill.io.input_files import open_input


def read_raw(
    features: Source,
    table: Path | None = None,
    choice: Choice | None = None,
    name: str | None = None,
    separator: str | None = None,
) -> RawRows:
    """Read features and a table with ids, groups and splits.

    Args:
        features: file or folder in a format of `data.sources.read_sources`, or a source that one of the `layouts` can
            read.
        table: .jsonl, .csv, .tsv or .parquet file with rows in the order of the tensors. None reads ids, groups and
            splits from `features`.
        choice: modalities, and the names of the columns with ids, groups and splits. Without a column "group", every
            item is a group of its own; if it has several captions, their rows are in this group. If `table` is None,
            ids and splits may be missing too: rows are then numbered, and splits are drawn at random.
        name: name of the dataset, for reports and cards. None uses the name of `features` without its suffix.
        separator: character between the columns of a .csv or .tsv table; None detects it.

    Returns:
        The features in their stored types. Their provenance lists the types, the sha256 of each file, and notes for the
        user, for example about missing columns.

    Raises:
        InputError: a file is invalid, the table or a column is missing, ids repeat, a group is in several splits, the
            tensors and the table have different numbers of rows, or `separator` is given without `table`.
    """
    choice, features = choice or Choice(), as_source(features)
    if table is None and separator is not None:
        raise InputError(
            f"{argument('separator', separator)}: applies only to a table, but no table is given; omit the separator"
        )
    stored, layout_notes = _stored(features, table, choice, separator)
    place, given, notes = stored.where, stored.table, []
    if table is None and choice.id == "id" and "id" not in given:
        notes.append(f"no column 'id': rows are numbered; {argument('id_column', 'NAME')} names a column")
    else:
        require_column(place, given, choice.id, "every row needs a unique id", "id_column")
    if choice.group == "group" and "group" not in given:
        rule = "every row gets a separate group and is a positive only of itself"
        if stored.counts:
            rule = "every item gets a separate group, and only its own rows are positives of each other"
        notes.append(f"no column 'group': {rule}; {argument('group_column', 'NAME')} names a column")
    else:
        purpose = "rows in the same group are positives of each other"
        require_column(place, given, choice.group, purpose, "group_column")
    stored = stored.expanded(choice)
    columns, count = stored.table, len(next(iter(stored.rows.values())))
    ids = text_column(place, columns, choice.id, "") if choice.id in columns else tuple(map(str, range(count)))
    groups = text_column(place, columns, choice.group, "") if choice.group in columns else ids
    splits, split_notes = read_splits(place, columns, choice.split, groups if table is None else None)
    try:
        check_ids(ids, columns.place)
        check_groups(groups, splits, columns.place)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
    for modality, rows in stored.rows.items():
        if len(rows) != len(ids):
            raise InputError(
                f"modality {modality!r}: {len(rows)} rows, but there are {len(ids)} ids; pass one row per id, in the "
                "same order"
            )
    if "heads" not in splits:
        notes.append("no 'heads' split: projection heads start from random values unless you pass pre-trained heads")
    return RawRows(
        {modality: rows.width for modality, rows in stored.rows.items()},
        ids,
        groups,
        splits,
        {
            "name": printable(name or (features.stem if isinstance(features, Path) else stored.where)),
            "sources": {printable(file): _sha256(path) for file, path in stored.files.items()},
            "dtypes": {modality: str(rows.dtype).removeprefix("torch.") for modality, rows in stored.rows.items()},
            "notes": [*layout_notes, *split_notes, *notes],
        },
        lambda modality, rows: stored.rows[modality].read(rows),
    )


def _stored(
    features: Source, table: Path | None, choice: Choice, separator: str | None
) -> tuple[StoredFeatures, list[str]]:
    """Read features and their table. An item may still have several rows. Return them with notes for the user."""
    is_file = isinstance(features, Path) and features.is_file()
    if (layout := None if table is not None and is_file else open_layout(features)) is not None:
        stored = layout.features(choice if table is None else replace(choice, with_table=False))
        if table is not None:
            files = {**stored.files, table.name: table}
            stored = replace(stored, where=str(table), table=read_table(table, separator), files=files)
        return stored, layout.notes
    if isinstance(features, Path) and not features.exists():
        raise InputError(f"{features}: no such file or folder; check the path")
    if table is None:
        raise InputError(
            f"{features}: the table with the id, group and split of every row is missing; pass a .jsonl, .csv, .tsv or "
            f".parquet file, such as {argument('table', 'rows.csv')}"
        )
    tensors, sources = read_sources(features)
    names = choice.select(str(features), list(tensors), (), "features")
    rows = {modality: PartedRows((tensors[name],)) for modality, name in names.items()}
    files = {file.name: file for file in (*sources, table)}
    return StoredFeatures(str(table), rows, read_table(table, separator), files), []


def _sha256(path: Path) -> str:
    with open_input(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
