"""The parts of an Arrow dataset: .parquet and .arrow files, or splits of `datasets` objects, read in batches of rows.

.arrow files (stream or file format) are memory-mapped. Compressed ones are refused, because a small file could take any
amount of memory. The batches of a Parquet file are decoded into memory. Each batch is validated completely, because
Arrow trusts the offsets and texts in a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnidistill.core.errors import InputError
from omnidistill.core.memory import out_of_memory
from omnidistill.core.optional import require
from omnidistill.data.arrow_columns import parquet_file
from omnidistill.data.source_layouts.arrow_message import is_compressed
from omnidistill.io.artifacts import map_file
from omnidistill.io.input_files import one_line, regular_file

if TYPE_CHECKING:
    import pyarrow

BATCH_ROWS = 1000
"""Rows per batch of a Parquet file or an object."""
MEDIA_ROWS = 50
"""Rows per batch if they contain media, which may take megabytes per row."""
_FILE_FORMAT = b"ARROW1\0\0"


@dataclass(frozen=True)
class FilePart:
    """A .parquet or .arrow file.

    Attributes:
        name: name of the part in messages.
        split: name of its split; None if unknown.
        path: the file.
    """

    name: str
    split: str | None
    path: Path

    def schema(self) -> pyarrow.Schema:
        """Return the names and types of the columns.

        Raises:
            InputError: the file is damaged, or pyarrow is not installed.
        """
        if self._is_parquet:
            with parquet_file(self.path, dictionaries=False) as file:
                return _readable(file.schema_arrow)
        with self._arrow_reader() as reader:
            return _readable(reader.schema)

    def batches(self, columns: Sequence[str], rows: int = BATCH_ROWS) -> Iterator[pyarrow.RecordBatch]:
        """Yield columns in batches of rows.

        Args:
            columns: names of the columns.
            rows: number of rows per batch. It applies to .parquet files; an .arrow file is already stored in batches.

        Raises:
            InputError: see `schema`.
        """
        if self._is_parquet:
            with parquet_file(self.path, dictionaries=False) as file:
                yield from map(_checked, file.iter_batches(rows, columns=list(columns)))
            return
        with self._arrow_reader() as reader:
            for batch in reader:
                yield _checked(batch.select(list(columns)))

    @property
    def _is_parquet(self) -> bool:
        return self.path.suffix.lower() == ".parquet"

    @contextmanager
    def _arrow_reader(self) -> Iterator[Any]:
        """Memory-map the .arrow file and open it for reading in a `with` block.

        Raises:
            InputError: the file cannot be opened, its columns are compressed, or any error is raised in the `with`
                block. Errors because memory ran out are not converted.
        """
        pyarrow = require("pyarrow", "parquet")
        regular_file(self.path, follow_links=True)
        try:
            data = pyarrow.py_buffer(map_file(self.path))
            if data[: len(_FILE_FORMAT)].to_pybytes() == _FILE_FORMAT:
                data = data[len(_FILE_FORMAT) :]  # the stream format follows
            if any(
                is_compressed(memoryview(message.metadata)) for message in pyarrow.ipc.MessageReader.open_stream(data)
            ):
                raise InputError(
                    f"{self.path}: the columns are compressed; save them without compression, or as Parquet"
                )
            yield pyarrow.ipc.open_stream(data)
        except (InputError, MemoryError):
            raise
        except Exception as error:  # the parser raises many types of errors for damaged bytes
            if out_of_memory(error):
                raise
            raise InputError(
                f"{self.path}: cannot be read as an Arrow file ({one_line(error)}); check the path, or save the "
                "dataset again"
            ) from error


@dataclass(frozen=True)
class ObjectPart:
    """A split of a `datasets` object.

    Attributes:
        name: name of the part in messages.
        split: name of the split; None if unknown.
        dataset: a `datasets.Dataset`.
    """

    name: str
    split: str | None
    dataset: Any

    def schema(self) -> pyarrow.Schema:
        """Return the names and types of the columns."""
        return self.dataset.features.arrow_schema

    def batches(self, columns: Sequence[str], rows: int = BATCH_ROWS) -> Iterator[pyarrow.RecordBatch]:
        """Yield these columns of the dataset in batches of `rows` rows, in order. Media are not decoded."""
        chosen = self.dataset.select_columns(list(columns)).with_format("arrow")
        for table in chosen.iter(rows):
            yield from table.combine_chunks().to_batches()


ArrowPart = FilePart | ObjectPart
"""A part of a dataset; `schema` returns its columns and `batches` yields them."""


def _readable(schema: pyarrow.Schema) -> pyarrow.Schema:
    """Return the schema. Raise UnicodeDecodeError if a name is not UTF-8; pyarrow decodes names only on access."""
    for field in schema:
        for each in (field, *field.flatten()):
            str(each.name)
    return schema


def _checked(batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
    """Return the batch after validating its offsets and texts."""
    batch.validate(full=True)
    return batch
