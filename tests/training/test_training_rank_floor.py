"""The rank floor against numpy's SVD, explicit best approximations, and what rows can really reach."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnidistill.core.errors import InputError, NotFiniteError
from omnidistill.training.rank_floor import rank_floor, singular_values

laws = settings(max_examples=60, deadline=None)


def matrix(d: int, p: int, seed: int = 0, decay: float = 0.7) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(d, p, generator=generator, dtype=torch.float64)
    return rows * decay ** torch.arange(p, dtype=torch.float64)


differences = st.builds(
    matrix, st.integers(1, 9), st.integers(1, 9), st.integers(0, 10_000), st.sampled_from([1.0, 0.8, 0.3])
)


@pytest.mark.parametrize("shape", [(7, 7), (5, 12), (12, 5), (1, 4), (40, 30)])
@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_singular_values_equal_numpy(shape: tuple[int, int], scale: float) -> None:
    difference = scale * matrix(*shape, decay=0.9)
    expected = np.linalg.svd(difference.numpy(), compute_uv=False)
    found = singular_values(difference)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_single_precision_heads_are_measured_in_double() -> None:
    difference = (1e-30 * matrix(30, 20, decay=0.9)).float()  # its square is zero in float32
    expected = np.linalg.svd(difference.double().numpy(), compute_uv=False)
    np.testing.assert_allclose(singular_values(difference).numpy(), expected, rtol=1e-9)


@laws
@given(differences, st.integers(0, 10))
def test_floor_is_the_error_of_the_best_approximation(difference: Tensor, rank: int) -> None:
    left, values, right = np.linalg.svd(difference.numpy(), full_matrices=False)
    best = (left[:, :rank] * values[:rank]) @ right[:rank]
    error = np.sum((difference.numpy() - best) ** 2) / np.sum(difference.numpy() ** 2)
    assert rank_floor(singular_values(difference), rank) == pytest.approx(error, abs=1e-9)


def test_no_rows_beat_the_floor_and_the_best_rows_reach_it() -> None:
    difference = matrix(8, 11, decay=0.8)
    whole = (difference**2).sum()

    def reached(rows: Tensor) -> float:
        """Relative loss of the best update A^T X in the span of these rows."""
        fitted = torch.linalg.lstsq(rows.T, difference.T).solution
        return float(((difference - fitted.T @ rows) ** 2).sum() / whole)

    generator = torch.Generator().manual_seed(6)
    values = singular_values(difference)
    for size in range(1, 8):
        floor = rank_floor(values, size)
        some_rows = torch.randn(20, size, 11, generator=generator, dtype=torch.float64)
        assert all(reached(rows) > floor for rows in some_rows)
        assert reached(torch.linalg.svd(difference).Vh[:size]) == pytest.approx(floor, abs=1e-12)


@laws
@given(differences)
def test_floors_fall_from_one_to_zero(difference: Tensor) -> None:
    values = singular_values(difference)
    floors = [rank_floor(values, rank) for rank in range(len(values) + 1)]
    assert floors[0] == 1.0
    assert floors[-1] == rank_floor(values, 1000) == 0.0
    assert all(a >= b for a, b in pairwise(floors))


@laws
@given(differences, st.floats(1e-20, 1e20), st.randoms(use_true_random=False))
def test_scale_and_order_of_singular_values_change_nothing(difference: Tensor, scale: float, random) -> None:
    values = singular_values(difference)
    shuffled = values.tolist()
    random.shuffle(shuffled)
    for rank in range(len(values) + 1):
        expected = pytest.approx(rank_floor(values, rank), rel=1e-9)
        assert rank_floor(scale * torch.tensor(shuffled, dtype=torch.float64), rank) == expected


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_an_update_of_low_rank_has_floor_zero_at_its_rank(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(2)
    difference = torch.randn(60, 4, generator=generator, dtype=dtype) @ torch.randn(
        4, 90, generator=generator, dtype=dtype
    )
    values = singular_values(difference)
    assert rank_floor(values, 3) > 0.01
    assert rank_floor(values, 4) == 0.0


def test_what_has_no_floor_is_refused() -> None:
    for nothing in (torch.zeros(3, 4), torch.zeros(0, 4)):
        with pytest.raises(InputError, match="there is no update to match"):
            singular_values(nothing)
    for nothing in (torch.zeros(3), torch.zeros(0)):
        with pytest.raises(InputError, match="there is no update to match"):
            rank_floor(nothing, 1)
    with pytest.raises(InputError, match="rank = -1: the rank must be at least 0"):
        rank_floor(torch.ones(3), -1)
    difference = torch.ones(3, 4)
    difference[1, 2] = float("nan")
    with pytest.raises(NotFiniteError, match="NaN or Inf"):
        singular_values(difference)
