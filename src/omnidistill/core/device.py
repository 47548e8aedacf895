"""Devices for training, distillation and evaluation, selected by name.

    auto      cuda if torch can use a GPU, else cpu
    cpu, cuda, cuda:1, mps

All random numbers are drawn on the CPU and then moved to the device. A seed therefore gives the same synthetic set on
every device, up to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError

DEVICES = "auto, cpu, cuda, cuda:N, mps"
"""Device names as messages and help texts list them."""


def resolve_device(name: str | torch.device = "auto") -> torch.device:
    """Return the device with the given name.

    Args:
        name: "auto", "cpu", "cuda", "cuda:N" or "mps".

    Raises:
        InputError: the name is unknown, this machine lacks the device, or torch was built without support for it.
    """
    where = argument("device", str(name))
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise InputError(f"{where}: unknown device; choose from {DEVICES}") from None
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type == "mps":
        if not torch.backends.mps.is_available():
            raise InputError(
                f"{where}: this machine or this build of PyTorch does not support MPS; use {argument('device', 'cpu')}"
            )
        return torch.device("mps")
    if device.type != "cuda":
        raise InputError(f"{where}: this device is not supported; choose from {DEVICES}")
    _require_cuda(device, where)
    return device


def device_of(tensors: Mapping[str, Tensor]) -> torch.device:
    """Return the device that holds a dict of tensors, such as features or heads. All must be on the same device."""
    return next(iter(tensors.values())).device


def moved(tensors: Mapping[str, Tensor], device: torch.device | str) -> dict[str, Tensor]:
    """Return the tensors on a device. Tensors that are already there are not copied."""
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def float64_device(device: torch.device) -> torch.device:
    """Return the device for float64 computations: the given device, or the CPU if it is MPS, which has no float64."""
    return torch.device("cpu") if device.type in _WITHOUT_FLOAT64 else device


_WITHOUT_FLOAT64 = ("mps",)


def _require_cuda(device: torch.device, where: str) -> None:
    if not torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
        raise InputError(f"{where}: this build of PyTorch does not support CUDA; install a CUDA build, or {_other()}")
    count = torch.cuda.device_count()
    if not count:
        raise InputError(f"{where}: PyTorch finds no GPU on this machine; {_other()}")
    if device.index is not None and device.index >= count:
        last = "cuda:0 is the only GPU" if count == 1 else f"the GPUs are cuda:0 to cuda:{count - 1}"
        raise InputError(f"{where}: this GPU does not exist; {last}")


def _other() -> str:
    return f"use {argument('device', 'cpu')}"
