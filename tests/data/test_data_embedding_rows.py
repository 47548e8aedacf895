"""Arrays of embeddings: every source gives the same rows, and unusable ones give one clear line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.data.embedding_rows import open_embeddings

ARRAY = np.random.default_rng(0).normal(size=(23, 5))


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_file_in_chunks_is_the_array(dtype: str, order: Any, tmp_path: Path) -> None:
    array = np.asarray(10 * ARRAY, dtype=dtype, order=order)
    np.save(tmp_path / "x.npy", array)
    rows = open_embeddings(tmp_path / "x.npy", "x")
    assert (len(rows), rows.width) == (23, 5)
    parts = list(rows.chunks(7))
    assert [len(part) for part in parts] == [7, 7, 7, 2]
    np.testing.assert_array_equal(torch.cat(parts).numpy(), array.astype(np.float32))
    picked = rows.rows(torch.tensor([3, 22]))
    np.testing.assert_array_equal(picked.numpy(), array[[3, 22]].astype(np.float32))


@pytest.mark.parametrize(
    "source",
    [ARRAY.astype(np.float32), ARRAY.astype(np.float32).tolist(), torch.from_numpy(ARRAY).float()],
    ids=["array", "list", "tensor"],
)
def test_other_sources(source: Any) -> None:
    rows = open_embeddings(source, "x")
    np.testing.assert_array_equal(torch.cat(list(rows.chunks(10))).numpy(), ARRAY.astype(np.float32))


def test_chunks_never_write_to_the_source() -> None:
    array = ARRAY.astype(np.float32)
    for part in open_embeddings(array, "x").chunks(10):
        part.zero_()
    open_embeddings(array, "x").rows(torch.arange(23)).zero_()
    np.testing.assert_array_equal(array, ARRAY.astype(np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_named_by_row(value: float, tmp_path: Path) -> None:
    array = ARRAY.copy()
    array[17, 2] = value
    np.save(tmp_path / "x.npy", array)
    rows = open_embeddings(tmp_path / "x.npy", "x")
    message = re.escape(f"{tmp_path / 'x.npy'}: row 17 (counted from 0) contains NaN or Inf")
    with pytest.raises(InputError, match=message):
        list(rows.chunks(10))
    with pytest.raises(InputError, match=message):
        rows.rows(torch.tensor([4, 17]))


def test_large_finite_numbers_are_accepted() -> None:
    array = np.full((3, 4), 3e38, np.float32)
    assert open_embeddings(array, "x").rows(torch.arange(3)).isfinite().all()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(4), r"x: shape is \(4,\); embeddings must have shape \(rows, width\)"),
        (np.zeros((4, 0)), r"x: shape is \(4, 0\)"),
        (np.array([["a"]]), "x: dtype is <U1; embeddings must be real numbers"),
        (np.zeros((2, 2), complex), "x: dtype is complex128"),
        (np.zeros((2, 2), bool), "x: dtype is bool"),
        ([[1.0], [1.0, 2.0]], "x: the rows have different lengths"),
    ],
)
def test_arrays_that_are_no_embeddings(array: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_embeddings(array, "x")


@pytest.mark.parametrize("cut", [3, 40, 200])
def test_damaged_files(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, ARRAY)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"x\.npy: not a (complete )?\.npy file"):
        open_embeddings(path, "x")


def test_a_damaged_header_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', " + 12 * b"'fortran_or ")
    with pytest.raises(InputError, match=r"x\.npy: not a complete \.npy file of numbers"):
        open_embeddings(tmp_path / "x.npy", "x")


def test_files_with_objects_are_not_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[object()]], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"not a complete \.npy file of numbers"):
        open_embeddings(tmp_path / "x.npy", "x")
    with pytest.raises(InputError, match="cannot be read"):
        open_embeddings(tmp_path / "missing.npy", "x")
    with pytest.raises(InputError, match="is not a regular file"):
        open_embeddings(tmp_path, "x")
