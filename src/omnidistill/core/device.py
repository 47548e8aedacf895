"""Devices by name: where training, distillation and evaluation compute.

    auto      cuda if torch can use a GPU, else cpu
    cpu, cuda, cuda:1, mps

Random numbers are drawn on the CPU by named streams and moved, so a seed means the same set on every device, up to
rounding.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError

DEVICES = "auto, cpu, cuda, cuda:N, mps"
"""Names of devices, as messages and help list them."""


def resolve_device(name: str | torch.device = "auto") -> torch.device:
    """Return the device of a name.

    Args:
        name: "auto", "cpu", "cuda", "cuda:N" or "mps".

    Raises:
        InputError: there is no such device, this machine lacks it, or torch was built without support for it.
    """
    where = argument("device", str(name))
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise InputError(f"{where}: no device of this name; choose from {DEVICES}") from None
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type == "mps":
        if not torch.backends.mps.is_available():
            raise InputError(
                f"{where}: this machine or this build of torch has no MPS; use {argument('device', 'cpu')}"
            )
        return torch.device("mps")
    if device.type != "cuda":
        raise InputError(f"{where}: this device is not supported; choose from {DEVICES}")
    _require_cuda(device, where)
    return device


def device_of(tensors: Mapping[str, Tensor]) -> torch.device:
    """Return the device of a dict of tensors (features, heads), all of which are on one device."""
    return next(iter(tensors.values())).device


def moved(tensors: Mapping[str, Tensor], device: torch.device | str) -> dict[str, Tensor]:
    """Return the tensors on a device; those that are there already are not copied."""
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def float64_device(device: torch.device) -> torch.device:
    """Return the device on which to compute in float64: the given one, or the CPU for MPS, which has no float64."""
    return torch.device("cpu") if device.type in _WITHOUT_FLOAT64 else device


_WITHOUT_FLOAT64 = ("mps",)


def _require_cuda(device: torch.device, where: str) -> None:
    if not torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
        raise InputError(f"{where}: this build of torch has no CUDA; install one that has it, or {_other()}")
    count = torch.cuda.device_count()
    if not count:
        raise InputError(f"{where}: torch finds no GPU on this machine; {_other()}")
    if device.index is not None and device.index >= count:
        last = "cuda:0 is the only GPU" if count == 1 else f"the GPUs are cuda:0 to cuda:{count - 1}"
        raise InputError(f"{where}: no such GPU; {last}")


def _other() -> str:
    return f"use {argument('device', 'cpu')}"
