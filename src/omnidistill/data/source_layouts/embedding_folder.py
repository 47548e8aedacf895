"""Folders of embeddings in numbered parts, as clip-retrieval writes them.

    FOLDER/img_emb/img_emb_0.npy            rows x width, memory-mapped
    FOLDER/text_emb/text_emb_0.npy          the same rows
    FOLDER/metadata/metadata_0.parquet      one row per embedding

Any subfolder NAME_emb is a modality, called NAME (`img` is called `image`). Parts are in the order of their numbers.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.data.arrow_columns import column_values, parquet_file
from omnidistill.data.parted_rows import PartedRows
from omnidistill.data.source_layouts.layout import Choice, Layout, Source, StoredFeatures, layouts
from omnidistill.data.sources import read_npy
from omnidistill.data.table import Table
from omnidistill.io.input_files import cannot_read

_END = "_emb"
_NAMES = {"img": "image"}


@layouts.register("embedding-folder")
class EmbeddingFolder(Layout):
    """Embeddings in numbered .npy parts with .parquet metadata, as clip-retrieval writes them."""

    @classmethod
    def matches(cls, source: Source) -> bool:
        """Return whether the source is a folder with a subfolder NAME_emb."""
        return isinstance(source, Path) and source.is_dir() and any(source.glob(f"*{_END}/*{_END}_*.npy"))

    def features(self, choice: Choice) -> StoredFeatures:
        """Return the embeddings of all parts, memory-mapped, and the columns of the metadata with ids, groups, splits.

        Raises:
            InputError: a part is missing or damaged, or two parts with the same number have different numbers of rows.
        """
        folders = sorted(folder.name for folder in self.source.glob(f"*{_END}") if folder.is_dir())
        selected = choice.select(self.where, folders, (), "embeddings")
        if not choice.modalities:
            names = {folder: folder.removesuffix(_END) for folder in folders}
            selected = {_NAMES.get(name, name): folder for folder, name in names.items()}
        arrays = {modality: self._parts(folder, ".npy") for modality, folder in selected.items()}
        files = dict(arrays)
        if choice.with_table:
            files["metadata"] = self._parts("metadata", ".parquet") if (self.source / "metadata").is_dir() else {}
        first = next(iter(selected))
        for name, parts in files.items():
            self._check_numbers(selected[first], arrays[first], selected.get(name, name), parts)
        rows = {
            modality: PartedRows.of(
                f"{self.where}, modality {modality!r}", [(path.name, read_npy(path)) for path in parts.values()]
            )
            for modality, parts in arrays.items()
        }
        lengths = {name: list(map(len, x.parts)) for name, x in rows.items()}
        table = Table({})
        if choice.with_table:
            table, lengths["metadata"] = self._table(files["metadata"], choice)
        for name, counts in lengths.items():
            self._check_lengths(files, lengths[first], first, counts, name)
        paths = [path for parts in files.values() for path in parts.values()]
        return StoredFeatures(
            f"{self.where}/metadata", rows, table, {str(path.relative_to(self.source)): path for path in paths}
        )

    def _parts(self, folder: str, suffix: str) -> dict[int, Path]:
        """Return {number: file} of the numbered files in a subfolder, sorted by number."""
        pattern = re.compile(rf"{re.escape(folder)}_(\d{{1,18}}){re.escape(suffix)}")
        try:
            files = list((self.source / folder).iterdir())
        except OSError as error:
            raise cannot_read(self.source / folder, error) from error
        return dict(sorted((int(match[1]), path) for path in files if (match := pattern.fullmatch(path.name))))

    def _check_numbers(self, first: str, numbers: dict[int, Path], name: str, others: dict[int, Path]) -> None:
        if name == "metadata" and not others:
            raise InputError(
                f"{self.where}: the embeddings have no metadata (metadata/metadata_0.parquet, ...); add the folder, or "
                f"pass a table with one row per embedding: {argument('table', 'FILE')}"
            )
        if different := sorted(numbers.keys() ^ others.keys()):
            present, absent = (first, name) if different[0] in numbers else (name, first)
            raise InputError(
                f"{self.where}: part {different[0]} is in {present} but not in {absent}; every part needs one file in "
                "each folder"
            )

    def _check_lengths(
        self, files: dict[str, dict[int, Path]], expected: list[int], first: str, counts: list[int], name: str
    ) -> None:
        for place, (count, other) in enumerate(zip(expected, counts, strict=True)):
            if count != other:
                one, two = (list(files[each].values())[place].name for each in (first, name))
                raise InputError(
                    f"{self.where}: {one} has {count:,} rows but {two} has {other:,}; files of the same part must "
                    "have the same number of rows, so write this part again"
                )

    def _table(self, files: dict[int, Path], choice: Choice) -> tuple[Table, list[int]]:
        """Return the columns with ids, groups and splits of all parts, and the number of rows of each part."""
        values: dict[str, list[Any]] = {}
        names: list[str] = []
        lengths: list[int] = []
        for number, path in files.items():
            with parquet_file(path) as file:
                present = file.schema_arrow.names
                columns = [name for name in choice.columns if name in present]
                if lengths and set(columns) != set(values):
                    raise InputError(
                        f"{path}: part {number} does not have the same columns for ids, groups and splits as the "
                        "earlier parts; write this part again"
                    )
                read = file.read(columns=columns)
                read.validate(full=True)
                for name in columns:
                    values.setdefault(name, []).extend(column_values(read.column(name)))
                lengths.append(file.metadata.num_rows)
                names = names or [name for name in present if name not in columns]
        return Table(values, (), names), lengths
