"""Saying which promise is broken, and draws of their own for the suites."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def require(kept: bool, message: str) -> None:
    """Raise AssertionError unless the promise is kept."""
    if not kept:
        raise AssertionError(message)


def agree(found: Tensor, expected: Tensor, message: str, tolerance: float = 1e-8) -> None:
    """Require equal shapes and a relative error of at most `tolerance` in norm."""
    require(found.shape == expected.shape, f"{message}: shape {tuple(found.shape)}, not {tuple(expected.shape)}")
    scale = max(float(expected.detach().double().norm()), 1e-3)
    error = float((found.detach().double() - expected.detach().double()).norm()) / scale
    require(error <= tolerance, f"{message}: relative error {error:.2g}, at most {tolerance:g} is allowed")


def check_gradient(function: Callable[..., Tensor], arguments: list[Tensor], message: str) -> None:
    """Require that autograd gives the derivative of the function at these float64 arguments."""
    leaves = [argument.clone().requires_grad_() for argument in arguments]
    try:
        torch.autograd.gradcheck(function, leaves)
    except RuntimeError as error:
        raise AssertionError(f"{message}: {error}") from error


def normal(*shape: int, seed: int) -> Tensor:
    """Standard normal float64 draws."""
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def generator(seed: int) -> torch.Generator:
    """A generator of its own."""
    return torch.Generator().manual_seed(seed)
