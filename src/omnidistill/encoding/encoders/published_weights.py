"""Published weights: a state dict in a PyTorch or safetensors file, whose keys and shapes are checked before use.

A PyTorch file is a pickle. It is read with `torch.load(weights_only=True)`, which accepts tensors and plain containers
and executes no code.
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
    """Return the tensors of a state dict, memory-mapped, on CPU: values are read when they are used.

    Raises:
        InputError: the file is missing or damaged, or contains anything but a dict of tensors.
    """
    if path.suffix == ".safetensors":
        return read_tensors(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # unpicklers of damaged bytes raise many types
        why = str(error).partition("\n")[0]
        raise InputError(
            f"{path}: cannot be read as a PyTorch state dict ({why}); it is damaged or contains more than tensors"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(x, Tensor) for x in state.values()):
        raise InputError(f"{path}: contains a {type(state).__name__}, expected a state dict: tensors by name")
    return dict(state)


def check_weights(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path, model: str) -> None:
    """Check that `tensors` has the keys and shapes of `expected`, and floating-point values only.

    Args:
        tensors: weights that were read from `path`.
        expected: weights of the model, from which only keys and shapes are used.
        path: file or folder, for the message.
        model: name of the model, for the message.

    Raises:
        InputError: a key is missing or unknown, or a tensor has another shape or type; the message names the key.
    """
    for key, reference in expected.items():
        tensor = tensors.get(key)
        if tensor is None:
            raise InputError(f"{path}: key {key!r} is missing; {model} has it with shape {tuple(reference.shape)}")
        if tensor.shape != reference.shape or not tensor.is_floating_point():
            raise InputError(
                f"{path}: {key!r} is {_kind(tensor)} of shape {tuple(tensor.shape)}; "
                f"{model} has floats of shape {tuple(reference.shape)}"
            )
    unknown = sorted(tensors.keys() - expected.keys())
    if unknown:
        raise InputError(f"{path}: {unknown[0]!r} is not a weight of {model}{nearest(unknown[0], expected)}")


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
