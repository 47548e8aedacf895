"""A check that code names the device of every tensor that it creates.

torch.zeros(3)                     fails
torch.zeros(3, device=x.device)    passes
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

import omnidistill

SOURCE = Path(omnidistill.__file__).parent
FACTORIES = frozenset(_device_constructors())
"""Functions of torch that create a tensor on the default device unless they are given another."""


class ExplicitDevices(TorchFunctionMode):
    """Within the block, a factory function that is called in src/ without a device raises, naming file and line."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in FACTORIES and kwargs.get("device") is None:
            caller = sys._getframe(1)
            path = Path(caller.f_code.co_filename)
            if path.is_relative_to(SOURCE):
                place = path.relative_to(SOURCE).as_posix()
                raise AssertionError(f"{place}:{caller.f_lineno}: {func.__name__} without a device")
        return func(*args, **kwargs)
