"""Devices by name; one that does not exist, or is not built in, is one line."""

from __future__ import annotations

import pytest
import torch

from omnidistill.core.arguments import written_as_options
from omnidistill.core.device import device_of, float64_device, moved, resolve_device
from omnidistill.core.errors import InputError


def test_the_cpu_is_always_there() -> None:
    assert resolve_device("cpu") == resolve_device(torch.device("cpu")) == torch.device("cpu")
    assert resolve_device() == resolve_device("auto") == torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "xpu", "cpu:cpu"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"^device='.*': .*choose from auto, cpu, cuda, cuda:N, mps$"):
        resolve_device(name)


def test_a_gpu_that_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    with pytest.raises(InputError, match="this build of PyTorch does not support CUDA"), written_as_options():
        resolve_device("cuda")
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    missing = "--device cuda: PyTorch finds no GPU on this machine; use --device cpu"
    with pytest.raises(InputError, match=missing), written_as_options():
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(InputError, match="device='cuda:2': this GPU does not exist; the GPUs are cuda:0 to cuda:1"):
        resolve_device("cuda:2")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match="does not support MPS; use device='cpu'"):
        resolve_device("mps")


def test_a_dict_of_tensors_is_moved_only_if_it_must_be() -> None:
    tensors = {"a": torch.ones(2), "b": torch.zeros(3)}
    assert device_of(tensors) == torch.device("cpu")
    assert all(moved(tensors, "cpu")[name] is tensor for name, tensor in tensors.items())
    assert device_of(moved(tensors, "meta")) == torch.device("meta")


def test_float64_is_computed_on_the_cpu_where_a_device_lacks_it() -> None:
    assert float64_device(torch.device("mps")) == torch.device("cpu")
    assert float64_device(torch.device("cuda:1")) == torch.device("cuda:1")
