"""Safetensors files: u64 header length, JSON header, raw data (https://huggingface.co/docs/safetensors).

Files are written and hashed in pieces, without a copy in memory. A tensor can even be computed while it is written. The
safetensors library validates the header of a file and maps small files; this module maps large files itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.core.interrupts import signals_held
from omnidistill.core.memory import out_of_memory
from omnidistill.io.artifacts.files import FileRecord, check, making, replace
from omnidistill.io.artifacts.mapped_file import map_file
from omnidistill.io.input_files import cannot_read, one_line, regular_file

DTYPES = {  # the safetensors library writes tensors sorted by dtype, in the reverse of this order
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}


@dataclass(frozen=True)
class Pieces:
    """A tensor that is computed while it is written. `make` yields its rows in order, in blocks of any length."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    make: Callable[[], Iterable[Tensor]]


def write_tensors(path: Path, tensors: Mapping[str, Tensor | Pieces]) -> FileRecord:
    """Replace `path` with a file that contains these tensors, creating missing parent folders.

    Args:
        path: the file.
        tensors: tensors of any shape and stride, with a dtype listed in `DTYPES`.

    Raises:
        InputError: a tensor cannot be stored, or the file cannot be written. An existing file is unchanged.
    """
    check_path(path)
    with making(path.parent):
        return replace(path, serialised(path, tensors))


def read_tensors(path: Path, record: FileRecord | None = None) -> dict[str, Tensor]:
    """Open the tensors of a safetensors file, memory-mapped on the CPU. Do not write to them.

    Args:
        path: the file.
        record: expected size and sha256, checked before the file is read. None skips the check.

    Raises:
        InputError: the file is missing, damaged or in another format. Pickles are recognised but never read.
    """
    check_path(path)
    if record is not None:
        check(path, record, verify=True)
    size = regular_file(path, follow_links=True).st_size
    try:
        with path.open("rb") as file:
            start = file.read(8)
        with signals_held():  # the library turns `Interrupted` into an error about the file
            if size < _LARGE_BYTES:
                return load_file(path, device="cpu")
            with safe_open(path, "np"):  # validates the header; unlike a torch mapping, this reserves no memory
                return _mapped(path)
    except OSError as error:
        raise cannot_read(path, error) from error
    except (
        SafetensorError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        if out_of_memory(error):
            raise MemoryError(f"{path}: {error}") from error
        for magic, what in _LOOKS_LIKE.items():
            if start.startswith(magic):
                raise InputError(
                    f"{path}: looks like {what}, but only safetensors files can be read; save the tensors with "
                    "safetensors.torch.save_file"
                ) from error
        raise InputError(
            f"{path}: not a complete safetensors file ({one_line(error)}); the file was truncated or damaged, so "
            "create it again"
        ) from error


def check_path(path: Path) -> None:
    """Raise InputError if the path is not UTF-8, because the safetensors library cannot open it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(f"{path}: this path is not UTF-8; rename the file or folder, or choose another one") from None


def serialised(path: Path, tensors: Mapping[str, Tensor | Pieces]) -> Iterator[bytes | memoryview]:
    """Yield the content of a file in pieces, byte for byte as `safetensors.torch.save` would write it.

    Raises:
        InputError: a tensor cannot be stored. The message names `path`.
    """
    for name, tensor in tensors.items():
        if name == "__metadata__" or not _can_be_stored(tensor):
            kind = (
                f"{tensor.dtype}" if isinstance(tensor, Pieces) else f"{tensor.dtype}, {tensor.layout}, {tensor.device}"
            )
            raise InputError(
                f"{path}: tensor {name!r} ({kind}) cannot be stored; pass a dense tensor of one of the types "
                f"{', '.join(DTYPES.values())}, with a name other than '__metadata__'"
            )
    yield _header(tensors)
    for name, tensor in _ordered(tensors):
        written = 0
        for piece in tensor.make() if isinstance(tensor, Pieces) else (tensor,):
            dense = piece.detach().resolve_neg().cpu().contiguous()
            flat = dense.as_strided((dense.numel(),), (1,)).view(torch.uint8)
            written += flat.numel()
            for start in range(0, flat.numel(), _CHUNK_BYTES):
                yield flat[start : start + _CHUNK_BYTES].numpy().data
        if written != (expected := math.prod(tensor.shape) * tensor.dtype.itemsize):
            raise InputError(
                f"{path}: the data of tensor {name!r} have {written} bytes, but its shape and dtype need {expected} "
                "bytes; pass data of the correct size"
            )


def tensor_file_bytes(tensors: Mapping[str, Tensor | Pieces]) -> int:
    """Return the size in bytes of a file with these tensors. The tensors may be on the meta device."""
    return len(_header(tensors)) + sum(math.prod(x.shape) * x.dtype.itemsize for x in tensors.values())


def _ordered(tensors: Mapping[str, Tensor | Pieces]) -> list[tuple[str, Tensor | Pieces]]:
    rank = {dtype: -position for position, dtype in enumerate(DTYPES)}
    return sorted(tensors.items(), key=lambda item: (rank[item[1].dtype], item[0]))


def _header(tensors: Mapping[str, Tensor | Pieces]) -> bytes:
    """Return the length of the header, then the header itself, padded with spaces to a multiple of 8 bytes."""
    entries, end = {}, 0
    for name, tensor in _ordered(tensors):
        begin, end = end, end + math.prod(tensor.shape) * tensor.dtype.itemsize
        entries[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _can_be_stored(tensor: Tensor | Pieces) -> bool:
    dense = isinstance(tensor, Pieces) or (tensor.layout == torch.strided and not tensor.is_meta)
    return tensor.dtype in DTYPES and dense


def _mapped(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file as views of one memory map. The header must already be validated."""
    data = map_file(path)
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    header.pop("__metadata__", None)
    if any(entry["dtype"] not in _TYPES for entry in header.values()):
        return load_file(path, device="cpu")
    ordered = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    return {name: _view(data, begin + entry["data_offsets"][0], entry) for name, entry in ordered}


def _view(data: mmap, offset: int, entry: Mapping[str, Any]) -> Tensor:
    dtype, shape = _TYPES[entry["dtype"]], entry["shape"]
    count = math.prod(shape)
    if not count:
        return torch.empty(shape, dtype=dtype, device="cpu")
    if offset % dtype.itemsize:  # files from other writers may be unaligned
        return torch.frombuffer(bytearray(data[offset : offset + count * dtype.itemsize]), dtype=dtype).view(shape)
    return torch.frombuffer(data, dtype=dtype, count=count, offset=offset).view(shape)


_TYPES = {name: dtype for dtype, name in DTYPES.items()}
_LARGE_BYTES = 1 << 26  # the safetensors library maps smaller files; it keeps no file handle open
_CHUNK_BYTES = 1 << 24
_LOOKS_LIKE = {
    b"PK\x03\x04": "a zip archive, as written by torch.save and numpy.savez",
    b"\x80": "a Python pickle",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file",
    b"PAR1": "a Parquet file",
}
