"""Integers of b bits with one step per row: densely packed, exactly restored, and close to the rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnidistill.models.quantise import dequantise, pack_codes, quantise, unpack_codes

Normal = Callable[..., Tensor]
BITS = (2, 3, 4, 6, 8)
few = settings(deadline=None, max_examples=60)


def codes_of(bits: int, num_rows: int, width: int, seed: int) -> Tensor:
    """Any codes but 0."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(1, 2**bits, (num_rows, width), generator=draw).to(torch.uint8)


@few
@given(st.sampled_from(BITS), st.integers(1, 4), st.integers(1, 70), st.integers(0, 10**6))
def test_packed_codes_come_back_and_take_the_bytes_of_their_bits(bits: int, rows: int, width: int, seed: int) -> None:
    codes = codes_of(bits, rows, width, seed)
    packed = pack_codes(codes, bits)
    assert packed.dtype == torch.uint8
    assert packed.shape == (rows, -(-width * bits // 8))
    assert torch.equal(unpack_codes(packed, bits), codes)


@pytest.mark.parametrize("bits", BITS)
def test_the_layout_is_the_one_that_is_written_down(bits: int) -> None:
    """Number j in bits b j and up of the row, by Python's integers."""
    codes = codes_of(bits, 3, 13, seed=bits)
    for row, packed in zip(codes.tolist(), pack_codes(codes, bits).tolist(), strict=True):
        whole = sum(code << bits * j for j, code in enumerate(row))
        assert bytes(packed) == whole.to_bytes(-(-13 * bits // 8), "little")


@few
@given(st.sampled_from(BITS), st.integers(1, 40), st.floats(-20, 20), st.integers(0, 10**6))
def test_an_unclipped_number_is_off_by_half_a_step_at_most(bits: int, width: int, exponent: float, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    rows = 10.0**exponent * torch.randn(5, width, generator=draw)
    codes, step = quantise(rows, bits)
    error = (dequantise(codes, step, bits).double() - rows.double()).abs()
    top, steps = 2 ** (bits - 1) - 1, step.double().unsqueeze(1)
    beyond = (rows.double().abs() - top * steps).clamp_min(0)
    assert bool((error <= torch.maximum(steps / 2, beyond) * (1 + 1e-5)).all())
    assert bool(((codes >= 1) & (codes <= 2 * top + 1)).all())
    assert bool((steps.squeeze(1) * top <= rows.double().abs().amax(1) * (1 + 1e-6)).all())


@pytest.mark.parametrize("bits", BITS)
def test_the_step_is_the_best_of_the_factors(bits: int, normal: Normal) -> None:
    """Against numpy in float64, over the same twentieths of the largest number; one row with an outlier."""
    rows = normal(6, 50).float()
    rows[2, 7] = 9.0
    codes, step = quantise(rows, bits)
    error = (dequantise(codes, step, bits) - rows).double().square().sum(1)
    top = 2 ** (bits - 1) - 1
    for row, found in zip(rows.double().numpy(), error.tolist(), strict=True):
        steps = [np.abs(row).max() * k / 20 / top for k in range(4, 21)]
        errors = [((np.clip(np.round(row / s), -top, top) * s - row) ** 2).sum() for s in steps]
        assert found == pytest.approx(min(errors), rel=1e-5)


def test_clipping_pays_where_bits_are_few(normal: Normal) -> None:
    rows = normal(20, 200).float()
    reach = rows.abs().amax(1)
    share = {bits: float((quantise(rows, bits)[1] * (2 ** (bits - 1) - 1) / reach).mean()) for bits in BITS}
    assert share[2] < share[3] < share[4] < share[8] <= 1 + 1e-6
    assert share[2] < 0.5


@pytest.mark.parametrize(("bits", "least"), [(8, 0.9999), (6, 0.999), (4, 0.99), (3, 0.97), (2, 0.88)])
def test_directions_survive(bits: int, least: float, normal: Normal) -> None:
    rows = normal(20, 200).float()
    found = dequantise(*quantise(rows, bits), bits)
    assert float(torch.nn.functional.cosine_similarity(found, rows).min()) > least - 0.005


@pytest.mark.parametrize("bits", BITS)
def test_zeros_stay_zeros_and_signs_turn_with_the_row(bits: int, normal: Normal) -> None:
    rows = normal(3, 9).float()
    rows[1] = 0
    found = dequantise(*quantise(rows, bits), bits)
    assert not found[1].any()
    assert torch.equal(dequantise(*quantise(-rows, bits), bits), -found)


def test_a_row_alone_is_stored_as_among_others(normal: Normal) -> None:
    rows = normal(4, 33).float()
    codes, step = quantise(rows, 4)
    for index in range(4):
        alone, its_step = quantise(rows[index : index + 1], 4)
        assert torch.equal(alone[0], codes[index])
        assert its_step == step[index]


def test_what_is_not_a_number_does_not_become_one(normal: Normal) -> None:
    """It also does not change where the row ends."""
    rows = normal(3, 10).float()
    rows[0, 0], rows[1, 4] = torch.nan, torch.inf
    codes, step = quantise(rows, 3)
    found = dequantise(unpack_codes(pack_codes(codes, 3), 3), step, 3)
    assert found.shape == rows.shape
    assert found.isfinite().all(1).tolist() == [False, False, True]


@pytest.mark.parametrize("row", [0, 1])
def test_rows_of_different_widths_are_refused(row: int) -> None:
    packed = pack_codes(torch.full((2, 6), 3, dtype=torch.uint8), 4)
    packed[row, -1] = 0
    with pytest.raises(ValueError, match="different widths"):
        unpack_codes(packed, 4)
