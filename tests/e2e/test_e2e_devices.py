"""Everything computes on the device of its inputs, with the results of the CPU.

The runs are those of `device_runs`. On a machine without a GPU, the second device is simulated (`simulated_device`): an
operation on tensors of both devices fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from torch import Tensor

from device_runs import COMPUTED, RUNS
from explicit_devices import ExplicitDevices
from simulated_device import simulated_device

TOLERANCE = 1e-3
WITH_FLOAT64 = ("experts", "hopa", *COMPUTED, "random distill.selector.kind=craig", "evaluation", "migration")
"""Runs in which something is computed in float64."""


@cache
def numbers_on_cpu(name: str) -> Mapping[str, Tensor]:
    """The numbers of a run; every tensor that it creates must be given a device."""
    with TemporaryDirectory() as folder, ExplicitDevices():
        return RUNS[name](torch.device("cpu"), Path(folder))


@pytest.mark.parametrize("name", RUNS)
def test_every_tensor_is_created_on_a_device_that_is_named(name: str) -> None:
    assert numbers_on_cpu(name)


@pytest.mark.parametrize("name", RUNS)
def test_a_simulated_device_gives_the_bits_of_the_cpu(name: str, tmp_path: Path) -> None:
    expected = numbers_on_cpu(name)
    with simulated_device() as device:
        found = RUNS[name](device, tmp_path)
    assert list(found) == list(expected)
    for part, tensor in expected.items():
        assert torch.equal(found[part], tensor), part


@pytest.mark.parametrize("name", WITH_FLOAT64)
def test_a_device_without_float64_gives_the_bits_of_the_cpu(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omnidistill.core.device._WITHOUT_FLOAT64", ("meta",))
    expected = numbers_on_cpu(name)
    with simulated_device(has_float64=False) as device:
        found = RUNS[name](device, tmp_path)
    for part, tensor in expected.items():
        assert torch.equal(found[part], tensor), part


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", RUNS)
def test_a_gpu_gives_the_numbers_of_the_cpu(name: str, tmp_path: Path) -> None:
    expected, found = numbers_on_cpu(name), RUNS[name](torch.device("cuda"), tmp_path)
    assert list(found) == list(expected)
    for part, tensor in expected.items():
        if name == "draws":
            assert torch.equal(found[part], tensor), part
        error = torch.linalg.vector_norm(found[part].double() - tensor.double())
        assert error <= TOLERANCE * torch.linalg.vector_norm(tensor.double()), part
