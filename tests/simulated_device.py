"""A second device on a machine without a GPU: tensors that report the device "meta" but hold numbers.

Within `simulated_device()`,

    x.to(DEVICE), torch.zeros(3, device=DEVICE)    tensors on the simulated device
    x.cpu(), x.item(), x.tolist(), bool(x)         their numbers, as on a GPU
    x.numpy(), simulated + cpu                     errors, as on a GPU; CPU scalars are allowed, as are CPU indices

The numbers are computed by the kernels of the CPU, so results equal those of the CPU bit by bit. Like MPS, the device
may lack float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_map

DEVICE = torch.device("meta")
"""The simulated device."""

_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
"""Operations that accept CPU indices for a tensor on a GPU."""
_FROM_LISTS = (torch.tensor, torch.as_tensor, torch.asarray)
"""Functions that copy values to a device without a dispatched operation."""

_aten = torch.ops.aten


@contextmanager
def simulated_device(has_float64: bool = True) -> Iterator[torch.device]:
    """Simulate the device within the block; without float64, tensors of that type raise TypeError."""
    SimulatedTensor.has_float64 = has_float64
    with _Python(), _Kernels():
        yield DEVICE


class SimulatedTensor(Tensor):
    """A tensor on the simulated device."""

    values: Tensor
    has_float64 = True

    @staticmethod
    def __new__(cls, values: Tensor) -> SimulatedTensor:
        if values.dtype == torch.float64 and not cls.has_float64:
            raise TypeError("the device has no float64")
        result: SimulatedTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=DEVICE,
        )
        result.values = values
        return result

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"SimulatedTensor({self.values!r})"

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _run(func, args, dict(kwargs or {}))


class _Kernels(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _run(func, args, dict(kwargs or {}))


class _Python(TorchFunctionMode):
    """Conversions from and to values of Python, which are not dispatched to kernels.

    Torch would drop the values of `torch.tensor(values, device=DEVICE)` and of lists as indices: such tensors are
    created on the CPU and moved.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.tolist:
            return args[0].cpu().tolist()
        if func is Tensor.numpy and isinstance(args[0], SimulatedTensor):
            raise TypeError("cannot convert a tensor on the simulated device to numpy; use .cpu() first")
        if func in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[0], SimulatedTensor):
            args = (args[0], _without_lists(args[1]), *args[2:])
        if func in _FROM_LISTS and "device" in kwargs and torch.device(kwargs["device"]) == DEVICE:
            return func(*args, **{**kwargs, "device": "cpu"}).to(DEVICE)
        return func(*args, **kwargs)


def _without_lists(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(_without_lists(each) for each in index)
    return torch.tensor(index).to(DEVICE) if isinstance(index, list) else index


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensors = list(_tensors((*args, *kwargs.values())))
    device = _device_of_result(func, tensors, kwargs)
    _check_devices(func, args, tensors)
    if "device" in kwargs:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    result = func(*_values(args), **{name: _values(each) for name, each in kwargs.items()})
    if func is _aten._to_copy.default and result is _values(args[0]):
        result = result.clone()
    if device != DEVICE:
        return result
    wrapped = tree_map(lambda each: SimulatedTensor(each) if isinstance(each, Tensor) else each, result)
    return return_and_correct_aliasing(func, args, kwargs, wrapped) if _has_aliases(func) else wrapped


@cache
def _has_aliases(func: Any) -> bool:
    """Whether results may share memory with arguments."""
    return any(argument.alias_info is not None for argument in func._schema.arguments)


def _tensors(arguments: Iterable[Any]) -> Iterator[Tensor]:
    for each in arguments:
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, list | tuple):
            yield from _tensors(each)


def _values(each: Any) -> Any:
    """Return an argument with the numbers of simulated tensors in their place."""
    if isinstance(each, SimulatedTensor):
        return each.values
    return type(each)(map(_values, each)) if isinstance(each, list | tuple) else each


def _device_of_result(func: Any, tensors: list[Tensor], kwargs: Mapping[str, Any]) -> torch.device:
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"])
    if func is _aten.copy_.default:
        return tensors[0].device
    return DEVICE if any(isinstance(each, SimulatedTensor) for each in tensors) else torch.device("cpu")


def _check_devices(func: Any, args: tuple[Any, ...], tensors: list[Tensor]) -> None:
    """Raise RuntimeError where a GPU would: an operation on tensors of both devices."""
    assert not any(each.device == DEVICE and not isinstance(each, SimulatedTensor) for each in tensors), "no numbers"
    if func is _aten.copy_.default or not any(isinstance(each, SimulatedTensor) for each in tensors):
        return
    name = func._schema.name.split("::")[-1]
    if name in _INDEXING and isinstance(args[0], SimulatedTensor):
        tensors = [args[0], *(each for each in args[2:3] if isinstance(each, Tensor))]
    on_cpu = [each for each in tensors if not isinstance(each, SimulatedTensor) and each.ndim > 0]
    if on_cpu:
        shapes = ", ".join(f"{tuple(each.shape)} on {each.device}" for each in tensors)
        raise RuntimeError(f"{name}: expected all tensors on the same device, found {shapes}")
