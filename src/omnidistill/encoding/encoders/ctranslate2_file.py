"""Read tensors from a model file of CTranslate2 (model.bin). No code from the file is executed.

The layout of the file is

    uint32 version, string name, uint32 revision, uint32 number of variables
    per variable: string name, uint8 rank, uint32 per axis, uint8 type, uint32 number of bytes, bytes

All numbers are little-endian. A string has a uint16 length, which includes the final zero byte. See the function
`load` in https://github.com/OpenNMT/CTranslate2, src/models/model.cc.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from omnidistill.core.errors import InputError

_VERSION = 6
_TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)


def read_variables(path: Path, prefix: str) -> dict[str, Tensor]:
    """Return the variables whose names start with `prefix`, as {name without the prefix: tensor}.

    Floating-point variables are converted to float32.

    Raises:
        InputError: the file has an unsupported format version or number type, or is truncated.
    """
    variables: dict[str, Tensor] = {}
    try:
        with path.open("rb") as file:
            (version,) = _numbers(file, "I")
            if version != _VERSION:
                raise InputError(
                    f"{path}: has CTranslate2 format version {version}, but only format version {_VERSION} is "
                    "supported; reinstall the package that contains this file"
                )
            _text(file)
            _, count = _numbers(file, "II")
            for _ in range(count):
                name, (rank,) = _text(file), _numbers(file, "B")
                shape = _numbers(file, f"{rank}I")
                code, num_bytes = _numbers(file, "BI")
                if name.startswith(prefix):
                    values = np.frombuffer(file.read(num_bytes), np.dtype(_TYPES[code]).newbyteorder("<"))
                    tensor = torch.from_numpy(values.reshape(shape).copy())
                    variables[name.removeprefix(prefix)] = tensor.float() if tensor.is_floating_point() else tensor
                else:
                    file.seek(num_bytes, 1)
    except (struct.error, ValueError, IndexError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read as a CTranslate2 model ({error}); the file is damaged, so install or download it "
            "again"
        ) from error
    return variables


def _numbers(file: BinaryIO, layout: str) -> tuple[int, ...]:
    size = struct.calcsize(f"<{layout}")
    return struct.unpack(f"<{layout}", file.read(size))


def _text(file: BinaryIO) -> str:
    (length,) = _numbers(file, "H")
    return file.read(length)[:-1].decode()
