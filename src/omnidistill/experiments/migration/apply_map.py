"""Apply a map between two embedding spaces to embeddings, chunk by chunk, in memory or to a .npy file.

A file is written while the input is read, so only one chunk is in memory. Until it is complete, it has a temporary
name. It then gets the name of the output file, and replaces an existing file of this name.

Shapes: n vectors, p and q width of the source and the target space.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.data.embedding_rows import EmbeddingRows
from omnidistill.io.artifacts.files import clear_temps, making, replace
from omnidistill.models.affine_map import AffineMap

_CHUNK_NUMBERS = 2**22  # 16 MB of float32


@dataclass(frozen=True)
class AppliedFile:
    """A file of mapped embeddings.

    Attributes:
        path: the file.
        rows: number of vectors.
        width: width of the mapped vectors.
        bytes: size of the file.
        seconds: time to read, map and write all vectors.
    """

    path: Path
    rows: int
    width: int
    bytes: int
    seconds: float


def apply_to_rows(mapping: AffineMap, rows: EmbeddingRows) -> np.ndarray:
    """Return the mapped vectors (n x q) in memory.

    Raises:
        InputError: a vector contains NaN or Inf.
    """
    result = np.empty((len(rows), len(mapping.target_mean)), _output_type(rows))
    start = 0
    for chunk in _mapped_chunks(mapping, rows):
        result[start : start + len(chunk)] = chunk.numpy()
        start += len(chunk)
    return result


def apply_to_file(mapping: AffineMap, rows: EmbeddingRows, output: Path) -> AppliedFile:
    """Write the mapped vectors to a .npy file, and return the path, size and writing time of the file.

    Raises:
        InputError: a vector contains NaN or Inf, or the file cannot be written. An existing file is unchanged.
    """
    started_at, width = time.monotonic(), len(mapping.target_mean)
    with making(output.parent), torch.no_grad():
        clear_temps(output.parent, subfolders=False)
        record = replace(output, _npy_pieces(mapping, rows, width))
    return AppliedFile(output, len(rows), width, record.bytes, time.monotonic() - started_at)


def _npy_pieces(mapping: AffineMap, rows: EmbeddingRows, width: int) -> Iterator[bytes | memoryview]:
    """Yield the content of the output file: the header, then the vectors."""
    dtype, header = _output_type(rows), io.BytesIO()
    content = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (len(rows), width)}
    np.lib.format.write_array_header_1_0(header, content)
    yield header.getvalue()
    for chunk in _mapped_chunks(mapping, rows):
        yield chunk.numpy().astype(dtype, copy=False).reshape(-1).view(np.uint8).data


@torch.no_grad()
def _mapped_chunks(mapping: AffineMap, rows: EmbeddingRows) -> Iterator[Float[Tensor, "_ q"]]:
    size = max(1, _CHUNK_NUMBERS // max(rows.width, len(mapping.target_mean)))
    for chunk in rows.chunks(size):
        yield mapping.apply(chunk)


def _output_type(rows: EmbeddingRows) -> np.dtype:
    return np.dtype(np.float16 if rows.dtype == np.float16 else np.float32)
