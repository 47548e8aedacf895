"""Named tensors in one safetensors file: u64 header length, JSON header, raw data.

Format: https://huggingface.co/docs/safetensors. Written here piece by piece and hashed on the way, never copied as a
whole; read memory-mapped by the reference library, which validates the header.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from omnidistill.artifacts.files import FileRecord, cannot_read, check, making, one_line, regular_file, replace
from omnidistill.errors import InputError

DTYPES = {  # in the order of the reference writer, which stores the last of these first
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


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> FileRecord:
    """Replace `path` by these tensors, of any shape, stride and dtype in `DTYPES`; missing parent folders are made.

    Raises InputError if a tensor cannot be stored or the file not be written; a file already there is then untouched.
    """
    with making(path.parent):
        return replace(path, serialised(path, tensors))


def read_tensors(path: Path, record: FileRecord | None = None) -> dict[str, Tensor]:
    """The tensors in a safetensors file, memory-mapped on CPU: nothing is read before it is used; never write to them.

    With `record`, size and sha256 are compared first. Raises InputError if the file is missing, damaged or of another
    format; pickles are named as what they are and not read.
    """
    if record is not None:
        check(path, record, verify=True)
    regular_file(path, follow_links=True)
    try:
        with path.open("rb") as file:
            start = file.read(8)
        return load_file(path, device="cpu")
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
        for magic, what in _LOOKS_LIKE.items():
            if start.startswith(magic):
                raise InputError(
                    f"{path}: looks like {what}, expected safetensors; pickles are never read: "
                    "write the tensors with safetensors.torch.save_file"
                ) from error
        raise InputError(f"{path}: not a whole safetensors file ({one_line(error)}): truncated or damaged") from error


def serialised(path: Path, tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    """The bytes of the file, piece by piece: those of `safetensors.torch.save`. InputError names `path`."""
    for name, tensor in tensors.items():
        if name == "__metadata__" or tensor.dtype not in DTYPES or tensor.layout != torch.strided or tensor.is_meta:
            raise InputError(
                f"{path}: tensor {name!r} ({tensor.dtype}, {tensor.layout}, {tensor.device}) cannot be stored; "
                f"allowed are dense tensors of {', '.join(DTYPES.values())} under any name but '__metadata__'"
            )
    rank = {dtype: -position for position, dtype in enumerate(DTYPES)}
    ordered = sorted(tensors.items(), key=lambda item: (rank[item[1].dtype], item[0]))
    header = {}
    end = 0
    for name, tensor in ordered:
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for _, tensor in ordered:
        dense = tensor.detach().resolve_neg().cpu().contiguous()
        flat = dense.as_strided((dense.numel(),), (1,)).view(torch.uint8)
        for begin in range(0, flat.numel(), _CHUNK_BYTES):
            yield flat[begin : begin + _CHUNK_BYTES].numpy().data


_CHUNK_BYTES = 1 << 24
_LOOKS_LIKE = {
    b"PK\x03\x04": "a zip archive, as torch.save and numpy.savez write",
    b"\x80": "a Python pickle",
    b"\x93NUMPY": "a numpy array",
    b"\x89HDF": "an HDF5 file",
    b"PAR1": "a Parquet file",
}
