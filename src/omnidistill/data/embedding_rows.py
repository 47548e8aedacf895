"""Arrays of embeddings, one vector per row, in memory or in a .npy file.

`EmbeddingRows.chunks` reads a file one chunk at a time, so memory use does not depend on the number of rows.

Shapes: n vectors, p width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.core.printable import printable
from omnidistill.io.input_files import open_input

Embeddings = Tensor | ArrayLike | Path
"""Vectors: a tensor, an array from any library that NumPy can convert, or the Path of a .npy file."""

_MAGIC = b"\x93NUMPY"


@dataclass(frozen=True, eq=False)
class EmbeddingRows:
    """Vectors that are read when they are needed.

    Attributes:
        name: path of the file, or name of the argument; used in messages.
        array: the vectors; memory-mapped if they are in a file.
        file: path of the file that contains the vectors; None if they are in memory.
    """

    name: str
    array: np.ndarray
    file: Path | None = None

    def __len__(self) -> int:
        return len(self.array)

    @property
    def width(self) -> int:
        """Width p of the vectors."""
        return int(self.array.shape[1])

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored numbers."""
        return self.array.dtype

    def rows(self, numbers: Int[Tensor, " k"]) -> Float[Tensor, "k p"]:
        """Return the rows with these numbers, in float32.

        Raises:
            InputError: one of these rows contains NaN or Inf.
        """
        return self._checked(np.asarray(self.array[numbers.cpu().numpy()]), numbers)

    def chunks(self, num_rows: int) -> Iterator[Float[Tensor, "_ p"]]:
        """Yield all rows in order and in float32, in chunks of `num_rows` rows.

        Raises:
            InputError: a number is NaN or Inf, or the file is truncated.
        """
        for start, part in self._parts(num_rows):
            yield self._checked(part, torch.arange(start, start + len(part), device="cpu"))

    def _parts(self, num_rows: int) -> Iterator[tuple[int, np.ndarray]]:
        starts = range(0, len(self), num_rows)
        if self.file is None or not self.array.flags.c_contiguous:
            for start in starts:
                yield start, np.array(self.array[start : start + num_rows])
            return
        with open_input(self.file) as file:  # pages of a mapping would count as memory of the process
            file.seek(self.array.offset)  # type: ignore[attr-defined]
            for start in starts:
                count = min(num_rows, len(self) - start) * self.width
                part = np.fromfile(file, self.dtype, count)
                if len(part) != count:
                    raise InputError(f"{self.name}: the file was truncated while it was read; create it again")
                yield start, part.reshape(-1, self.width)

    def _checked(self, part: np.ndarray, numbers: Int[Tensor, " k"]) -> Float[Tensor, "k p"]:
        native = part.astype(np.float32, copy=not part.flags.writeable)
        rows = torch.from_numpy(native)
        finite = rows.sum(1).isfinite()  # a sum can overflow although all numbers are finite
        if not bool(finite.all()) and not bool((finite := rows.isfinite().all(1)).all()):
            first = int(numbers[int((~finite).nonzero()[0])])
            raise InputError(
                f"{self.name}: row {first} (counted from 0) contains NaN or Inf; compute this embedding again, or "
                "remove the item from all embedding files"
            )
        return rows


def open_embeddings(source: Embeddings, name: str) -> EmbeddingRows:
    """Open embeddings. A file is memory-mapped.

    Args:
        source: path of a .npy file, a tensor, or an array.
        name: name of the argument in messages.

    Raises:
        InputError: the file is missing or not a .npy file, or the array is not numeric with shape rows x width.
    """
    if isinstance(source, Path):
        return _checked_shape(EmbeddingRows(printable(str(source)), _mapped(source), source))
    if isinstance(source, Tensor):
        x = source.detach()
        return _checked_shape(EmbeddingRows(name, (x.float() if x.dtype == torch.bfloat16 else x).cpu().numpy()))
    try:
        array = np.asanyarray(source)
    except ValueError:
        raise InputError(f"{name}: the rows have different lengths; pass an array of shape (rows, width)") from None
    return _checked_shape(EmbeddingRows(name, array))


def _mapped(path: Path) -> np.ndarray:
    try:
        with open_input(path) as file:
            magic = file.read(len(_MAGIC))
        if magic != _MAGIC:
            raise ValueError("it does not start like one")
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return array
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
    except Exception as error:  # for damaged or truncated files and Python objects, NumPy raises many types of errors
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a complete .npy file of numbers ({reason}); save the array again") from error


def _checked_shape(rows: EmbeddingRows) -> EmbeddingRows:
    array = rows.array
    if array.dtype.kind not in "fiu":
        raise InputError(f"{rows.name}: dtype is {array.dtype}; embeddings must be real numbers, such as float32")
    if array.ndim != 2 or not array.shape[1]:
        raise InputError(f"{rows.name}: shape is {array.shape}; embeddings must have shape (rows, width)")
    return rows
