"""Affine maps against float64 arithmetic in numpy: both forms, unit outputs, and the choice of the faster form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from omnidistill.models.affine_map import AffineMap


def made(rank: int, unit: bool = False) -> AffineMap:
    draw = torch.Generator().manual_seed(rank)
    a, left, right, b = (torch.randn(*shape, generator=draw) for shape in ((6,), (rank, 6), (rank, 4), (4,)))
    return AffineMap(a, left, right, b, unit)


@pytest.mark.parametrize("unit", [False, True])
def test_it_is_the_equation(unit: bool) -> None:
    mapping = made(3, unit)
    assert mapping.left is not None
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    a, left, right, b = (
        part.double().numpy() for part in (mapping.source_mean, mapping.left, mapping.right, mapping.target_mean)
    )
    expected = b + (x.double().numpy() - a) @ left.T @ right
    if unit:
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(mapping.apply(x).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("rank", "dense"), [(2, False), (3, True), (5, True)])
def test_the_form_with_fewer_operations_gives_the_same_outputs(rank: int, dense: bool) -> None:
    mapping = made(rank)
    fast = mapping.fastest()
    assert (fast.left is None) == dense  # 2 N (6 + 4) or 2 * 6 * 4 operations
    assert fast.fastest().right.shape == fast.right.shape
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(fast.apply(x), mapping.apply(x), atol=1e-5, rtol=1e-5)


def test_it_takes_the_type_of_another_tensor() -> None:
    double = made(2).to(torch.zeros((), dtype=torch.float64))
    assert double.apply(torch.zeros(1, 6, dtype=torch.float64)).dtype == torch.float64
