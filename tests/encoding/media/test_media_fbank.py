"""The filter banks against a slow oracle, written from Kaldi's definition with sums and loops."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.encoding.media.fbank import fbank

Normal = Callable[..., Tensor]
Array = NDArray[np.float64]


def mel(frequency: float) -> float:
    return 1127 * math.log(1 + frequency / 700)


def slow_fbank(samples: Array, rate: int, num_bins: int) -> Array:
    length, step = rate * 25 // 1000, rate * 10 // 1000
    size = next(2**k for k in range(20) if 2**k >= length)
    low, high = mel(20.0), mel(rate / 2)
    width = (high - low) / (num_bins + 1)
    rows = []
    for begin in range(0, len(samples) - length + 1, step):
        frame = [x - np.mean(samples[begin : begin + length]) for x in samples[begin : begin + length]]
        sharp = [frame[t] - 0.97 * frame[max(t - 1, 0)] for t in range(length)]
        shaped = [x * (0.5 - 0.5 * math.cos(2 * math.pi * t / (length - 1))) for t, x in enumerate(sharp)]
        energies = np.zeros(num_bins)
        for k in range(size // 2):
            turned = np.exp(-2j * np.pi * k * np.arange(length) / size)
            power = abs(np.sum(np.array(shaped) * turned)) ** 2
            for n in range(num_bins):
                left, centre, right = (low + (n + j) * width for j in range(3))
                at = mel(k * rate / size)
                if left < at < right:
                    energies[n] += power * ((at - left) if at <= centre else (right - at)) / width
        rows.append([math.log(max(energy, 2.0**-23)) for energy in energies])
    return np.array(rows)


@pytest.mark.parametrize(("rate", "num_bins"), [(16_000, 128), (16_000, 112), (8_000, 40)])
def test_it_is_kaldis(normal: Normal, rate: int, num_bins: int) -> None:
    """Noise with an offset, a hum, and silence, where the floor shows."""
    samples = 0.1 * normal(rate // 16) + 0.3
    samples += torch.sin(torch.arange(len(samples)) * 2 * math.pi * 440 / rate)
    samples[-rate * 7 // 200 :] = 0.2
    found = fbank(samples, rate, num_bins)
    expected = torch.from_numpy(slow_fbank(samples.numpy(), rate, num_bins))
    assert expected.min() == math.log(2.0**-23)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)
    torch.testing.assert_close(fbank(samples.float(), rate, num_bins).double(), expected, atol=2e-3, rtol=0)


@settings(deadline=None, max_examples=25)
@given(st.integers(400, 2000))
def test_a_frame_every_ten_milliseconds_that_is_full(num_samples: int) -> None:
    samples = torch.sin(torch.arange(num_samples, dtype=torch.float64) ** 1.5)
    found = fbank(samples, 16_000, 23)
    assert found.shape == (1 + (num_samples - 400) // 160, 23)
    assert torch.equal(fbank(samples[: 400 + 160 * (len(found) - 1)], 16_000, 23), found)


def test_twice_as_loud_is_ln_4_more(normal: Normal) -> None:
    samples = normal(3200)
    torch.testing.assert_close(
        fbank(2 * samples, 16_000, 64) - fbank(samples, 16_000, 64), torch.full((18, 64), 4.0).double().log()
    )


def test_a_tone_is_loudest_in_its_own_bin() -> None:
    low, high = mel(20.0), mel(8000.0)
    for tone in (300.0, 1000.0, 4000.0):
        samples = torch.sin(2 * math.pi * tone / 16_000 * torch.arange(3200, dtype=torch.float64))
        loudest = fbank(samples, 16_000, 40).mean(0).argmax()
        assert abs(low + (float(loudest) + 1) * (high - low) / 41 - mel(tone)) < (high - low) / 41


def test_a_sound_must_fill_a_window() -> None:
    with pytest.raises(InputError, match="too short: it has 399 samples at 16000 Hz, but needs at least 400"):
        fbank(torch.zeros(399), 16_000, 128)
