"""The header of an array in the .npy format, which states its type and shape."""

from __future__ import annotations

import math
import zipfile
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Any

import numpy as np


def read_header(file: IO[bytes] | BufferedIOBase) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and type of the array in an open .npy file.

    Raises:
        ValueError: the file does not begin with a valid header.
    """
    first = np.lib.format.read_magic(file) == (1, 0)
    shape, _, dtype = (np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0)(file)
    return shape, dtype


def check_declared_sizes(path: Path) -> None:
    """Check that no array in an .npz file is larger, according to its header, than its part of the file.

    Raises:
        ValueError: an array is larger, so that reading it would need memory for values that do not exist.
    """
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if not entry.filename.endswith(".npy"):
                continue
            with archive.open(entry) as file:
                shape, dtype = read_header(file)
            if math.prod(shape) * dtype.itemsize > entry.file_size:
                raise ValueError(
                    f"array {entry.filename.removesuffix('.npy')!r} has shape {shape}, but only {entry.file_size} bytes"
                )
