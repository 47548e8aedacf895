"""Feature tensors from .npz, .safetensors and .parquet files, or from a folder with one file per modality.

Nothing is unpickled: pickles and object arrays raise an error. A modality is one tensor of a float type with the shape
rows x width. Whole numbers are converted to float32.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.core.memory import out_of_memory
from omnidistill.data.arrow_columns import list_column, parquet_columns
from omnidistill.data.names import check_modality_names
from omnidistill.io.artifacts import map_file, read_tensors
from omnidistill.io.input_files import check_expansion, one_line, open_input, regular_file

_PICKLES = {".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".joblib"}
_NPY = b"\x93NUMPY"
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def read_sources(path: Path) -> tuple[dict[str, Float[Tensor, "_ _"]], tuple[Path, ...]]:
    """Read the modalities in a file or folder, memory-mapped where possible.

    Args:
        path: a file or a folder. A file contains one array (`.npz`), one tensor (`.safetensors`) or one column with
            lists of numbers (`.parquet`) per modality. A folder contains one `.npy`, `.npz` or `.safetensors` file per
            modality. Each of these files is named after its modality, such as "image.npy", and contains one array.

    Returns:
        {modality: rows x width} in the stored types (whole numbers as float32), and the files that were read.

    Raises:
        InputError: a file is missing, damaged or in an unknown format; a file contains pickles or object arrays; or a
            tensor has an invalid name, shape or type. The message names the file and the modality.
    """
    try:
        files = _files(path) if path.is_dir() else (path,)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    tensors = {file.stem: _only(file) for file in files} if path.is_dir() else _file(path)
    tensors = {name: _checked(path, name, x) for name, x in tensors.items()}
    try:
        check_modality_names(tensors)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return tensors, files


def _checked(path: Path, name: str, x: Tensor) -> Tensor:
    """Check the tensor of a modality, and return it; whole numbers become float32."""
    if x.dtype not in _FLOATS and (x.is_floating_point() or x.is_complex() or x.dtype == torch.bool):
        kind = str(x.dtype).removeprefix("torch.")
        raise InputError(
            f"{path}: modality {name!r} has dtype {kind}; features must be integers, float16, bfloat16, float32 or "
            "float64; if this array contains ids, groups or splits, move it to the metadata table"
        )
    if x.ndim != 2:
        raise InputError(
            f"{path}: modality {name!r} has shape {tuple(x.shape)}; features must have shape (rows, width); if this "
            "array contains ids, groups or splits, move it to the metadata table"
        )
    if 0 in x.shape:
        missing = "rows" if x.shape[0] == 0 else "columns"
        raise InputError(
            f"{path}: modality {name!r} has no {missing} (shape {tuple(x.shape)}); export the features again"
        )
    return x if x.dtype in _FLOATS else x.float()


def _file(path: Path) -> dict[str, Tensor]:
    suffix = path.suffix.lower()
    if suffix in _PICKLES:
        raise InputError(
            f"{path}: {suffix} files are pickles and can execute code, so omnidistill does not read them; "
            "save the arrays as .safetensors, .npz or .npy"
        )
    readers = {".npz": _npz, ".safetensors": read_tensors, ".parquet": _parquet}
    if suffix not in readers:
        raise InputError(
            f"{path}: unknown format {suffix!r}; "
            f"expected {', '.join(readers)} or a folder of .npy, .npz and .safetensors files"
        )
    return readers[suffix](path)


def _files(folder: Path) -> tuple[Path, ...]:
    known = {".npy", ".npz", ".safetensors", *_PICKLES}
    files = sorted((file for file in folder.iterdir() if file.suffix.lower() in known), key=lambda file: file.stem)
    if not files:
        raise InputError(
            f"{folder}: this folder has no .npy, .npz or .safetensors files; it needs one file per modality"
        )
    for previous, file in pairwise(files):
        if previous.stem == file.stem:
            raise InputError(
                f"{folder}: {previous.name} and {file.name} both belong to modality {file.stem!r}; remove one of them"
            )
    return tuple(files)


def _only(path: Path) -> Tensor:
    tensors = _npy(path) if path.suffix.lower() == ".npy" else _file(path)
    if len(tensors) != 1:
        raise InputError(
            f"{path}: contains {len(tensors)} tensors, but each file in a folder must contain exactly one; "
            "pass this file instead of the folder"
        )
    return next(iter(tensors.values()))


def _npz(path: Path) -> dict[str, Tensor]:
    with open_input(path) as file, _numpy_errors(path):
        if zipfile.is_zipfile(file):
            _check_archive(path, zipfile.ZipFile(file))
        file.seek(0)
        loaded = np.load(file, allow_pickle=False)
        arrays = {name: loaded[name] for name in loaded.files} if isinstance(loaded, np.lib.npyio.NpzFile) else None
    if arrays is None:
        raise InputError(
            f"{path}: contains a single array; save an .npz archive with one array per modality (numpy.savez)"
        )
    return {name: _from_numpy(path, name, array) for name, array in arrays.items()}


def _check_archive(path: Path, archive: zipfile.ZipFile) -> None:
    """Check the sizes stated in an .npz archive and in its arrays, before memory is allocated for them."""
    num_bytes = sum(entry.file_size for entry in archive.infolist())
    check_expansion(path, num_bytes, "save the arrays without compression (numpy.savez)")
    for entry in archive.infolist():
        with archive.open(entry) as member:
            if member.read(len(_NPY)) != _NPY:
                continue
            member.seek(0)
            shape, dtype = read_npy_header(member)
        if math.prod(shape) * dtype.itemsize > entry.file_size:
            raise ValueError(f"{entry.filename} has {entry.file_size} bytes, but shape {shape} and dtype {dtype}")


def read_npy_header(file: IO[bytes] | BufferedIOBase) -> tuple[tuple[int, ...], np.dtype]:
    """Read the shape and the dtype from the header of a .npy file, without the values.

    Raises:
        ValueError: this is not a .npy file; NumPy raises other types of errors, too, for damaged headers.
    """
    first = np.lib.format.read_magic(file) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def read_npy(path: Path) -> Float[Tensor, "_ _"]:
    """Return the array in a .npy file, memory-mapped; whole numbers are converted to float32.

    Raises:
        InputError: the file is missing or damaged, or does not contain an array of numbers, rows x width.
    """
    (x,) = _npy(path).values()
    return _checked(path, path.stem, x)


def read_npy_bytes(where: str, data: bytes) -> np.ndarray[Any, np.dtype[Any]]:
    """Return the array in the content of a .npy file.

    Raises:
        InputError: the content is damaged, or does not contain an array of numbers. The message starts with `where`.
    """
    with _numpy_errors(where), io.BytesIO(data) as file:
        shape, dtype = read_npy_header(file)
        if math.prod(shape) * dtype.itemsize > len(data):
            raise ValueError(f"{len(data)} bytes, but shape {shape} and dtype {dtype}")
        file.seek(0)
        array = np.load(file, allow_pickle=False)
    return _from_numpy(where, "npy", array).numpy()


def _npy(path: Path) -> dict[str, Tensor]:
    regular_file(path, follow_links=True)
    with _numpy_errors(path):
        header = np.load(path, allow_pickle=False, mmap_mode="r")
        array = np.ndarray(header.shape, header.dtype, map_file(path), header.offset, header.strides)
    return {path.stem: _from_numpy(path, path.stem, array)}


@contextmanager
def _numpy_errors(path: Path | str) -> Iterator[None]:
    """Convert all errors in a `with` block to InputErrors, except if memory ran out.

    This is necessary because NumPy raises many types of errors for damaged files.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        if isinstance(error, ValueError) and any(word in str(error).lower() for word in ("pickle", "object")):
            raise InputError(
                f"{path}: not a NumPy file, or it contains pickled objects, which can execute code and are not read; "
                "save each modality as a numeric array"
            ) from error
        raise InputError(
            f"{path}: cannot be read as a NumPy file ({one_line(error)}); the file is truncated or damaged, so save it "
            "again"
        ) from error


def _from_numpy(path: Path | str, name: str, array: object) -> Tensor:
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: entry {name!r} is not a NumPy array; save the arrays with numpy.savez")
    if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
        hint = (
            "; save bfloat16 values as .safetensors, because NumPy does not support them"
            if array.dtype.kind == "V"
            else ""
        )
        raise InputError(
            f"{path}: modality {name!r} has dtype {array.dtype}; features must be integers or floats of at most 64 "
            f"bits{hint}; if this array contains ids, groups or splits, move it to the metadata table"
        )
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))


def _parquet(path: Path) -> dict[str, Tensor]:
    columns = parquet_columns(path, modalities=True)
    if not columns:
        raise InputError(f"{path}: no column contains lists of numbers; every modality needs one such column")
    return {name: list_column(path, name, column) for name, column in columns.items()}
