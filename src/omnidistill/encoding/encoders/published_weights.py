"""Published weights: a state dict in a file of PyTorch's or of safetensors, every key and shape compared before use.

A file of PyTorch's is a pickle, read by the restricted reader of `torch.load(weights_only=True)`: tensors and plain
containers, no code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from omnidistill.core.errors import InputError, nearest
from omnidistill.io.artifacts import read_tensors


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, mapped, on CPU: nothing is read before it is used.

    Raises InputError for a file that is missing, damaged, or holds anything but tensors by name.
    """
    if path.suffix == ".safetensors":
        return read_tensors(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # unpicklers of damaged bytes raise many types
        why = str(error).partition("\n")[0]
        raise InputError(
            f"{path}: cannot be read as a PyTorch state dict ({why}); damaged, or more than tensors is in it"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(x, Tensor) for x in found.values()):
        raise InputError(f"{path}: holds a {type(found).__name__}, expected a state dict: tensors by name")
    return dict(found)


def check_weights(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: Path, model: str) -> None:
    """Raise InputError, naming a key, unless `tensors` has the keys and shapes of `wanted`, and floats only."""
    for key, tensor in wanted.items():
        found = tensors.get(key)
        if found is None:
            raise InputError(f"{where}: no {key!r}, which {model} has with shape {tuple(tensor.shape)}")
        if found.shape != tensor.shape or not found.is_floating_point():
            raise InputError(
                f"{where}: {key!r} is {_kind(found)} of shape {tuple(found.shape)}; "
                f"{model} has floats of shape {tuple(tensor.shape)}"
            )
    unknown = sorted(tensors.keys() - wanted.keys())
    if unknown:
        raise InputError(f"{where}: {unknown[0]!r} is no weight of {model}{nearest(unknown[0], wanted)}")


def file_sha256(path: Path) -> str:
    """The checksum of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
