"""The size of the columns of a Parquet file, read from its footer: the numbers of pyarrow, and no crash if damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnidistill.core.errors import InputError
from omnidistill.data.arrow_columns import parquet_columns
from omnidistill.data.parquet_footer import column_bytes


def bytes_of(path: Path) -> int:
    with path.open("rb") as file:
        return column_bytes(file)


def bytes_by_pyarrow(path: Path) -> int:
    metadata = pq.read_metadata(path)
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    return sum(max(8 * column.num_values, column.total_uncompressed_size) for column in columns)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"row_group_size": 100, "compression": "zstd", "write_page_index": True},
        {"version": "1.0", "store_schema": False, "sorting_columns": [pq.SortingColumn(0)]},
    ],
)
def test_the_size_is_that_of_pyarrow(options: dict[str, Any], tmp_path: Path) -> None:
    columns = {
        "id": pa.array([f"item {row}" for row in range(1200)]),
        "image": pa.array([[float(row)] * 3 for row in range(1200)], pa.list_(pa.float32())),
        "speech": pa.array([row % 2 == 0 for row in range(1200)]),
        "tags": pa.array([[("a", row)] for row in range(1200)], pa.map_(pa.string(), pa.int64())),
        "empty": pa.nulls(1200, pa.float64()),
    }
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet", **options)
    assert bytes_of(tmp_path / "rows.parquet") == bytes_by_pyarrow(tmp_path / "rows.parquet") > 1200 * 8 * 5


def test_damaged_statistics_are_refused_where_pyarrow_would_end_the_process(tmp_path: Path) -> None:
    """pyarrow 26 calls abort() when its Python interface interprets histograms of the wrong size."""
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": list(np.ones((4, 2), np.float32))}), path, store_schema=False)
    good, problem = path.read_bytes(), ""
    footer = len(good) - 8 - int.from_bytes(good[-8:-4], "little")
    for place in range(footer, len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 16]) + good[place + 1 :])
        try:
            parquet_columns(path, modalities=True)
        except InputError as error:
            problem = str(error)
            if "histogram size mismatch" in problem:
                break
    assert f"{path}: cannot be read as a Parquet file" in problem
    assert "histogram size mismatch" in problem


@pytest.mark.parametrize(
    ("footer", "problem"),
    [
        (b"\x1c" * 100, "values are nested too deeply"),
        (b"\x19" * 100, "values are nested too deeply"),
        (b"\x1e", "unknown type 14"),
        (b"\x16" + b"\xff" * 10, "more than 64 bits"),
        (b"\x19\xfc\xff\xff\xff\xff\x0f", "out of range"),
        (b"\x19\xf7" + b"\xff" * 8 + b"\x0f", "a value ends after the footer"),  # very many floats
    ],
)
def test_a_forged_footer_costs_nothing(footer: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "forged").write_bytes(footer + len(footer).to_bytes(4, "little") + b"PAR1")
    with pytest.raises((ValueError, IndexError), match=problem):
        bytes_of(tmp_path / "forged")
