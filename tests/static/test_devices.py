"""Every line that creates a tensor or a generator names the device; `tests/e2e/test_e2e_devices.py` runs such lines."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
import torch

from explicit_devices import FACTORIES, SOURCE, ExplicitDevices
from omnidistill.models import similarities
from simulated_device import simulated_device

NAMES = {factory.__name__ for factory in FACTORIES} | {"Generator"}


def without_device(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls of factory functions without a device, except in constructors of modules, which follow torch's default."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef) and any("Module" in ast.unparse(base) for base in node.bases):
            methods = [each for each in node.body if getattr(each, "name", "") != "__init__"]
            for method in methods:
                yield from without_device(method)
            continue
        if isinstance(node, ast.Call) and creates(node) and not names_device(node):
            yield node
        yield from without_device(node)


def creates(call: ast.Call) -> bool:
    name = call.func
    return (
        isinstance(name, ast.Attribute)
        and name.attr in NAMES
        and isinstance(name.value, ast.Name)
        and name.value.id == "torch"
    )


def names_device(call: ast.Call) -> bool:
    is_generator = isinstance(call.func, ast.Attribute) and call.func.attr == "Generator"
    return any(keyword.arg == "device" for keyword in call.keywords) or (is_generator and bool(call.args))


def test_every_call_in_the_source_names_the_device() -> None:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        place = path.relative_to(SOURCE).as_posix()
        calls = without_device(ast.parse(path.read_text("utf-8")))
        found += [f"{place}:{call.lineno}: {ast.unparse(call.func)}" for call in calls]
    assert found == []


def test_the_list_of_factories_is_that_of_torch() -> None:
    expected = {"zeros", "ones", "empty", "full", "eye", "arange", "linspace", "tensor", "as_tensor", "asarray"}
    expected |= {"rand", "randn", "randint", "randperm", "hann_window", "tril_indices"}
    assert expected <= NAMES


def test_calls_without_a_device_are_found() -> None:
    (call,) = without_device(ast.parse("x = torch.zeros(3)\ny = torch.zeros(3, device=x.device)"))
    assert call.lineno == 1
    assert len(list(without_device(ast.parse("torch.Generator().manual_seed(0), torch.Generator('cpu')")))) == 1
    module = "class Tower(nn.Module):\n    def __init__(self):\n        torch.empty(3)\n"
    assert list(without_device(ast.parse(module))) == []
    assert len(list(without_device(ast.parse(f"{module}    def forward(self):\n        torch.empty(3)\n")))) == 1


def test_a_call_without_a_device_raises_and_is_named() -> None:
    source = "import torch\ndef init(*size):\n    return torch.zeros(*size)\n"
    code = compile(source, str(SOURCE / "models" / "some_file.py"), "exec")
    namespace: dict[str, object] = {}
    exec(code, namespace)
    init = namespace["init"]
    assert callable(init)
    with ExplicitDevices():
        assert torch.zeros(2).device == torch.device("cpu")  # a test may
        assert similarities.Diagonal().init(3, torch.Generator())["diagonal"].shape == (3,)
        with pytest.raises(AssertionError, match=r"models/some_file\.py:3: zeros without a device"):
            init(2)


def test_the_simulated_device_refuses_what_a_gpu_refuses() -> None:
    there, index = torch.arange(6.0).view(2, 3), torch.tensor([1])
    with simulated_device() as device:
        x = there.to(device)
        with pytest.raises(RuntimeError, match=r"add: expected all tensors on the same device, found \(2, 3\) on meta"):
            x + torch.ones(3)
        with pytest.raises(RuntimeError, match="index"):
            there[index.to(device)]
        with pytest.raises(TypeError, match=r"use \.cpu\(\) first"):
            x.numpy()


def test_the_simulated_device_computes() -> None:
    matrix = torch.arange(6.0).view(2, 3)
    with simulated_device() as device:
        x = matrix.to(device)
        weight = torch.ones(3, 4, device=device, requires_grad=True)
        (x @ weight).square().sum().backward()
        assert weight.grad is not None
        assert weight.grad.device == x.device == device
        x[1:] += torch.tensor(1.0)  # scalars of the CPU
        x[torch.tensor([0])] = 7  # and its indices
        assert x.tolist() == [[7, 7, 7], [4, 5, 6]]
        assert (float(x[1, 0]), bool((x > 3).all()), len(x)) == (4, True, 2)
        assert torch.tensor([1, 2], device=device).tolist() == [1, 2]
        assert x[:, [0]].tolist() == [[7], [4]]
    assert matrix[1, 0] == 3
