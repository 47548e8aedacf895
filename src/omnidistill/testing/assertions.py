"""Assertions and random tensors for the contract tests of third-party components."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def require(condition: bool, message: str) -> None:
    """Raise an AssertionError with this message unless the condition is true."""
    if not condition:
        raise AssertionError(message)


def agree(actual: Tensor, expected: Tensor, message: str, tolerance: float = 1e-8) -> None:
    """Require that two tensors have equal shapes and a relative error (Euclidean norm) of at most `tolerance`."""
    require(actual.shape == expected.shape, f"{message}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}")
    scale = max(float(expected.detach().double().norm()), 1e-3)
    error = float((actual.detach().double() - expected.detach().double()).norm()) / scale
    require(error <= tolerance, f"{message}: relative error {error:.2g} exceeds the tolerance of {tolerance:g}")


def check_gradient(function: Callable[..., Tensor], arguments: list[Tensor], message: str) -> None:
    """Check that autograd and finite differences give the same derivative of `function` at float64 arguments."""
    leaves = [argument.clone().requires_grad_() for argument in arguments]
    try:
        torch.autograd.gradcheck(function, leaves)
    except RuntimeError as error:
        raise AssertionError(f"{message}: {error}") from error


def normal(*shape: int, seed: int) -> Tensor:
    """Return a float64 tensor of standard normal numbers."""
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64, device="cpu")


def generator(seed: int) -> torch.Generator:
    """Return a new generator with this seed."""
    return torch.Generator("cpu").manual_seed(seed)
