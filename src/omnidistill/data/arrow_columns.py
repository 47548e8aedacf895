"""Columns of Parquet files and Arrow tables: lists of numbers as tensors, and all other columns as Python values."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.core.memory import out_of_memory
from omnidistill.data.parquet_footer import column_bytes
from omnidistill.io.input_files import check_expansion, one_line, open_input

if TYPE_CHECKING:
    import pyarrow


def parquet_columns(path: Path, modalities: bool) -> dict[str, pyarrow.ChunkedArray]:
    """Read columns of a Parquet file.

    Args:
        path: the file.
        modalities: True reads the columns that contain lists of numbers; False reads all other columns.

    Returns:
        {name of the column: values}. Text columns are dictionary-encoded, so a repeated text is stored once.

    Raises:
        InputError: see `parquet_file`.
    """
    with parquet_file(path) as file:
        names = [field.name for field in file.schema_arrow if is_number_list(field.type) == modalities]
        table = file.read(columns=names)
        table.validate(full=True)  # a damaged file can have indices beyond the end of a dictionary
        return {name: table.column(name) for name in names}


@contextmanager
def parquet_file(path: Path, dictionaries: bool = True) -> Iterator[pyarrow.parquet.ParquetFile]:
    """Open a Parquet file.

    Args:
        path: the file.
        dictionaries: whether text columns are dictionary-encoded, so that a repeated text is stored once.

    Raises:
        InputError: pyarrow is not installed, the file is missing or damaged, or its content takes too much memory.
            Exceptions in the `with` block are also raised as InputError, because reading damaged data can raise any
            exception. Only a lack of memory is raised unchanged.
    """
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(
            "pyarrow is not installed, but Parquet files need it: pip install 'omnidistill[parquet]'"
        ) from error
    try:
        with open_input(path) as opened:
            metadata = parquet.read_metadata(opened)
            check_expansion(path, column_bytes(opened), "write the features as .npy or .safetensors files")
        columns = [metadata.schema.column(number) for number in range(metadata.num_columns)]
        texts = [column.path for column in columns if dictionaries and column.physical_type == "BYTE_ARRAY"]
        with parquet.ParquetFile(path, read_dictionary=texts) as file:
            yield file
    except InputError:
        raise
    except Exception as error:  # the parser raises many types of errors for damaged bytes
        if out_of_memory(error):
            raise
        raise InputError(
            f"{path}: cannot be read as a Parquet file ({one_line(error)}); check the path, or write the file again"
        ) from error


def list_column(path: Path | str, name: str, column: Any) -> Float[Tensor, "_ _"]:
    """Return an Arrow column of number lists as a tensor, rows x width, without copying if it is one chunk.

    Raises:
        InputError: a value is missing, or the lists have different lengths.
    """
    from pyarrow import compute

    widths = compute.min_max(compute.list_value_length(column)).as_py()
    values = compute.list_flatten(column)
    if column.null_count or values.null_count:
        raise InputError(f"{path}: column {name!r} has missing values; every row must be complete")
    low, high = widths["min"] or 0, widths["max"] or 0
    if low != high:
        raise InputError(f"{path}: column {name!r} has rows with {low} to {high} numbers; all rows need the same width")
    array = values.to_numpy(zero_copy_only=False) if hasattr(values, "buffers") else np.array(values.to_numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the array is read-only, but nothing writes to it
        return torch.from_numpy(array).reshape(len(column), low)


def is_number_list(kind: Any) -> bool:
    """Return whether an Arrow type is a list of numbers."""
    from pyarrow import types

    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return bool(is_list and (types.is_floating(kind.value_type) or types.is_integer(kind.value_type)))


def column_values(column: Any) -> list[Any]:
    """Return the values of a Parquet or Arrow column. Equal texts of a dictionary-encoded column are one object."""
    from pyarrow import types

    if not types.is_dictionary(column.type):
        return list(column.to_pylist())
    values: list[Any] = []
    for chunk in column.chunks:
        words = chunk.dictionary.to_pylist()
        values += [None if number is None else words[number] for number in chunk.indices.to_pylist()]
    return values
