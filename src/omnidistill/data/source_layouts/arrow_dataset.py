"""Hugging Face datasets: columns of embeddings become modalities, columns of pictures, sounds and texts become items.

    FOLDER/dataset_dict.json, FOLDER/train/data-00000-of-00001.arrow    written by `DatasetDict.save_to_disk`
    FOLDER/state.json, FOLDER/data-00000-of-00001.arrow                 written by `Dataset.save_to_disk`
    FOLDER/train-00000-of-00002.parquet, FOLDER/test/0.parquet          Parquet or Arrow files
    hub:OWNER/NAME[/CONFIG][@REVISION]                                  downloaded by `datasets.load_dataset`
    Dataset, DatasetDict                                                objects in Python

Local files are read by pyarrow, without the `datasets` library. No code of a dataset is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.core.optional import require
from omnidistill.data.arrow_columns import column_values, is_number_list, list_column
from omnidistill.data.parted_rows import PartedRows
from omnidistill.data.source_layouts.arrow_media import media_columns, text_columns, to_content
from omnidistill.data.source_layouts.arrow_parts import MEDIA_ROWS, ArrowPart, FilePart, ObjectPart
from omnidistill.data.source_layouts.layout import Choice, Item, Layout, Source, StoredFeatures, layouts
from omnidistill.data.source_layouts.source_names import check_same_columns, only_suffixes, split_in_path
from omnidistill.data.splits import split_name
from omnidistill.data.table import Table
from omnidistill.io.input_files import files_below, one_line, read_json, reading

if TYPE_CHECKING:
    import pyarrow

_HUB = re.compile(r"hub:([\w.-]+/[\w.-]+)(?:/([\w.-]+))?(?:@([\w./-]+))?")
_DATA = (".parquet", ".arrow")
_BESIDE = (".json", ".md", ".lock", "")  # files that may be in a folder of Parquet files


@layouts.register("arrow")
class ArrowDataset(Layout):
    """Hugging Face datasets: `save_to_disk` folders, Parquet and Arrow files, `Dataset` objects, "hub:OWNER/NAME"."""

    @classmethod
    def matches(cls, source: Source) -> bool:
        """Return whether the source is a saved dataset, Parquet or Arrow files, a `datasets` object or "hub:..."."""
        if isinstance(source, Path) and source.is_dir():
            return only_suffixes(source, _DATA, _BESIDE)
        if isinstance(source, Path):
            return source.suffix.lower() in _DATA
        if isinstance(source, str):
            return source.startswith("hub:")
        return type(source).__module__.partition(".")[0] == "datasets"

    @property
    def where(self) -> str:
        """The name by which messages call the source."""
        return str(self.source) if isinstance(self.source, Path | str) else type(self.source).__name__

    @property
    def has_media(self) -> bool:
        """Whether a column contains pictures, sounds or videos."""
        return bool(media_columns(self._parts[0].schema()))

    def features(self, choice: Choice) -> StoredFeatures:
        """Return the columns whose cells contain one or several lists of numbers. Each list is a feature row.

        Raises:
            InputError: a file is damaged, a chosen column is missing, or the lists of a column have different lengths.
        """
        parts = self._parts
        schema = parts[0].schema()
        numeric = [field.name for field in schema if is_number_list(_inner(field.type))]
        if not numeric and self.has_media:
            return super().features(choice)
        others = [name for name in schema.names if name not in numeric]
        selected = choice.select(self.where, numeric, others, "lists of numbers")
        if not choice.modalities:
            selected = self._embeddings(schema, selected)
        choice.check_columns(self.where, schema.names)
        labels = [name for name in choice.columns if name in schema.names]
        rows: dict[str, list[tuple[str, Tensor]]] = {modality: [] for modality in selected}
        counts: dict[str, list[int]] = {}
        values: dict[str, list[Any]] = {name: [] for name in labels}
        splits: list[str | None] = []
        for part in parts:
            check_same_columns(part.name, schema, part.schema(), [*selected.values(), *labels])
            for batch in part.batches(list(dict.fromkeys([*selected.values(), *labels]))):
                for modality, name in selected.items():
                    column = batch.column(name)
                    if not is_number_list(column.type):
                        counts.setdefault(modality, []).extend(_lengths(part.name, name, column))
                        column = column.flatten()
                    rows[modality].append((part.name, list_column(part.name, name, column)))
                for name in labels:
                    values[name] += column_values(batch.column(name))
                splits += [part.split] * batch.num_rows
        if not splits:
            raise InputError(f"{self.where}: the dataset has no rows; it needs one row per item")
        if choice.with_table and choice.split not in labels and choice.split == "split":
            values |= self._split_column(splits)
        unread = [name for name in schema.names if name not in labels]
        return StoredFeatures(
            self.where,
            {name: PartedRows.of(f"{self.where}, column {selected[name]!r}", x) for name, x in rows.items()},
            Table(values, (), unread),
            {part.name: part.path for part in parts if isinstance(part, FilePart)},
            counts,
        )

    def items(self, choice: Choice) -> Iterator[Item]:
        """Yield an item per row, with its pictures, sounds and texts.

        Raises:
            InputError: a file is damaged, a chosen column is missing, or the dataset has no media.
        """
        parts = self._parts
        schema = parts[0].schema()
        kinds, texts = media_columns(schema), text_columns(schema, choice.columns)
        available = [*kinds, *texts.all]
        if not kinds and any(is_number_list(_inner(field.type)) for field in schema):
            yield from super().items(choice)
        others = [name for name in schema.names if name not in available]
        selected = choice.select(self.where, available, others, "media or texts")
        if not choice.modalities:
            selected = texts.by_kind(self.where, kinds)
            self.notes += [f"not used: the text column {name!r}" for name in texts.all if name not in selected.values()]
        choice.check_columns(self.where, schema.names)
        labels = [name for name in choice.columns if name in schema.names]
        number = 0
        for part in parts:
            check_same_columns(part.name, schema, part.schema(), [*selected.values(), *labels])
            for batch in part.batches(list(dict.fromkeys([*selected.values(), *labels])), MEDIA_ROWS):
                for row in range(batch.num_rows):
                    cells = {name: batch.column(name)[row].as_py() for name in batch.schema.names}
                    contents = {}
                    for modality, name in selected.items():
                        where = f"{part.name}, row {number}, column {name!r}"
                        content = to_content(where, cells[name], kinds.get(name), isinstance(part, ObjectPart))
                        if content is not None:
                            contents[modality] = content
                    id, group, split = (None if cells.get(name) is None else str(cells[name])
                                        for name in (choice.id, choice.group, choice.split))  # fmt: skip
                    yield Item(str(number) if id is None else id, group, split or part.split, contents)
                    number += 1

    def _embeddings(self, schema: pyarrow.Schema, selected: dict[str, str]) -> dict[str, str]:
        """Return the selected columns of floats. If there are none, return all selected columns.

        Columns of whole numbers usually contain boxes or tokens rather than features.

        Args:
            schema: names and types of the columns.
            selected: {modality: column with lists of numbers}.
        """
        from pyarrow import types

        floats = {name: name for name in selected if types.is_floating(_inner(schema.field(name).type).value_type)}
        others = [name for name in selected if name not in floats] if floats else []
        self.notes += [f"not used: the column {name!r}, which contains whole numbers" for name in others]
        return floats or selected

    @cached_property
    def _parts(self) -> list[ArrowPart]:
        """Return the files or splits of the source, in order."""
        if isinstance(self.source, str):
            return _object_parts(self.source, _download(self.source))
        if not isinstance(self.source, Path):
            return _object_parts(self.where, self.source)
        if self.source.is_file():
            return [FilePart(str(self.source), None, self.source)]
        relative = [path for path in files_below(self.source) if path.suffix.lower() in _DATA]
        folders = {folder: self._saved(folder) for folder in {path.parent for path in relative}}
        parts: list[ArrowPart] = []
        for path in relative:
            files, split = folders[path.parent]
            if files is None or path.name in files:
                parts.append(FilePart(str(path), split_in_path(path) or split, self.source / path))
        if not parts:
            raise InputError(f"{self.where}: the files listed in state.json are missing; save the dataset again")
        return parts

    def _saved(self, folder: PurePosixPath) -> tuple[set[str] | None, str | None]:
        """Return the names of the data files and the split that `save_to_disk` recorded in state.json.

        The folder may contain further .arrow files, which are caches of `Dataset.map`. The split is None if it is not
        recorded or not a known split. Without a state.json, the result is (None, None).
        """
        path = self.source / folder / "state.json"
        if not path.is_file():
            return None, None
        with reading(str(path), "save the dataset again"):
            state = read_json(path)
            files, split = {str(each["filename"]) for each in state["_data_files"]}, state.get("_split")
        return files, split if isinstance(split, str) and split_name(split) else None

    def _split_column(self, splits: list[str | None]) -> dict[str, list[Any]]:
        known = {split for split in splits if split is not None}
        if known and None in splits:
            raise InputError(
                f"{self.where}: some files are named after a split ({', '.join(sorted(known))}), but not all are; "
                "rename the others, or add a column 'split'"
            )
        return {"split": list(splits)} if known else {}


def _inner(kind: Any) -> Any:
    """Return the type of the elements of a list, such as list<float> for list<list<float>>.

    If the type is a list of numbers or not a list, it is returned unchanged.
    """
    from pyarrow import types

    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return kind.value_type if is_list and not is_number_list(kind) else kind


def _lengths(where: str, name: str, column: Any) -> list[int]:
    from pyarrow import compute

    if column.null_count:
        raise InputError(f"{where}: column {name!r} has missing values; every row must be complete")
    return list(compute.list_value_length(column).to_pylist())


def _object_parts(where: str, dataset: Any) -> list[ArrowPart]:
    if isinstance(dataset, dict):
        return [ObjectPart(f"{where}, split {name!r}", str(name), split) for name, split in dataset.items()]
    if not hasattr(dataset, "select_columns") or not hasattr(dataset, "with_format") or not hasattr(dataset, "__len__"):
        raise InputError(
            f"{where}: the type {type(dataset).__name__} has no fixed number of rows; pass a Dataset or DatasetDict"
        )
    split = str(getattr(dataset, "split", None))
    return [ObjectPart(where, split if split_name(split) else None, dataset)]


def _download(reference: str) -> Any:
    if (match := _HUB.fullmatch(reference)) is None:
        raise InputError(f"{reference}: expected hub:OWNER/NAME, hub:OWNER/NAME/CONFIG or hub:OWNER/NAME@REVISION")
    name, config, revision = match.groups()
    library = require("datasets", "datasets")
    try:
        return library.load_dataset(name, config, revision=revision)
    except Exception as error:  # the library raises its own errors, those of the network and those of files
        raise InputError(
            f"{reference}: cannot be loaded from the Hugging Face Hub ({type(error).__name__}: {one_line(error)}); "
            "check the name, the connection and your access"
        ) from error
