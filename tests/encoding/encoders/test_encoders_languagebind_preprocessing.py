"""What the published transforms draw at random is fixed here: the middle, no flip, the first chunk of each third."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.languagebind.languagebind_inputs import audio_input, frame_times, video_input
from omnidistill.encoding.encoders.pixels import standardised
from omnidistill.encoding.media.fbank import fbank

Normal = Callable[..., Tensor]


def scaled(energies: Tensor) -> Tensor:
    return (energies.T + 4.2677393) / (2 * 4.5689974)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 3000), st.sampled_from([1, 24, 30]))
def test_frames_are_evenly_spaced_from_first_to_last(num_frames: int, rate: int) -> None:
    expected = np.linspace(0, num_frames - 1, 8, dtype=int)
    assert [int(time * rate) for time in frame_times(num_frames / rate, float(rate))] == expected.tolist()


def test_a_video_takes_time() -> None:
    with pytest.raises(InputError, match="both values must be positive"):
        frame_times(0.0, 25.0)


def test_a_video_is_the_middle_of_its_frames() -> None:
    ramp = (torch.arange(300).expand(224, 300) * 2 // 3).expand(8, 3, 224, 300)
    frames = (ramp + torch.arange(8).view(8, 1, 1, 1)).to(torch.uint8)
    found = video_input(frames)
    assert found.shape == (3, 8, 224, 224)
    torch.testing.assert_close(found.transpose(0, 1), standardised(frames[..., 38:262]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("num_frames", [1036, 1037, 1038, 1039, 1040, 1500])
def test_of_a_long_sound_the_first_chunk_of_each_third(normal: Normal, num_frames: int) -> None:
    samples = 0.1 * normal(400 + 160 * (num_frames - 1)).float()
    found = audio_input(samples)
    assert found.shape == (3, 112, 1036)
    energies = fbank(samples, 16_000, 112)
    for chunk, third in zip(found, np.array_split(np.arange(num_frames - 1036 + 1), 3), strict=True):
        start = third[0] if len(third) else 0
        torch.testing.assert_close(chunk, scaled(energies[start : start + 1036]))


def test_a_short_sound_begins_again(normal: Normal) -> None:
    samples = 0.1 * normal(400 + 160 * 499).float()
    once = scaled(fbank(samples, 16_000, 112))
    for chunk in audio_input(samples):
        torch.testing.assert_close(chunk, torch.cat([once, once, once[:, :36]], 1))
