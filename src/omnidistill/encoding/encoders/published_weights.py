"""Read published weights from a PyTorch or safetensors file, and check their names and shapes.

PyTorch files are read with `torch.load(weights_only=True)`, which does not execute code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from omnidistill.core.errors import InputError, nearest
from omnidistill.io.artifacts import read_tensors
from omnidistill.io.input_files import open_input, regular_file


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a file. The tensors are memory-mapped on the CPU.

    Raises:
        InputError: the file is missing or damaged, or contains anything other than a dict of tensors.
    """
    if path.suffix == ".safetensors":
        return read_tensors(path)
    regular_file(path, follow_links=True)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # unpicklers raise many types of exceptions for damaged data
        why = str(error).partition("\n")[0]
        raise InputError(
            f"{path}: cannot be read as a PyTorch state dict ({why}); download the file again, or pass a file that "
            "contains only tensors"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(x, Tensor) for x in state.values()):
        raise InputError(
            f"{path}: contains a {type(state).__name__}; pass a file with a state dict, which maps names to tensors"
        )
    return dict(state)


def check_weights(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path, model: str) -> None:
    """Check that `tensors` has the same keys and shapes as `expected`, and contains only floating-point values.

    Args:
        tensors: the weights to check.
        expected: tensors with the expected keys and shapes. Their values are not used.
        path: file or folder of the weights, for error messages.
        model: name of the model, for error messages.

    Raises:
        InputError: a key is missing or unknown, or a tensor has the wrong shape or dtype. The message names the key.
    """
    for key, reference in expected.items():
        tensor = tensors.get(key)
        if tensor is None:
            raise InputError(
                f"{path}: key {key!r} of shape {tuple(reference.shape)} is missing; pass the published weights of "
                f"{model}"
            )
        if tensor.shape != reference.shape or not tensor.is_floating_point():
            raise InputError(
                f"{path}: key {key!r} has dtype {_kind(tensor)} and shape {tuple(tensor.shape)}, expected "
                f"floating-point values of shape {tuple(reference.shape)}; pass the published weights of {model}"
            )
    unknown = sorted(tensors.keys() - expected.keys())
    if unknown:
        raise InputError(
            f"{path}: key {unknown[0]!r} is not a weight of {model}; pass the published weights of this model"
            f"{nearest(unknown[0], expected)}"
        )


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file as 64 hex digits."""
    with open_input(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
