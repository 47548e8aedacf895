"""The views of an item: which frames, crops and stretches of sound, in which order, filled and scaled how."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.imagebind.imagebind_inputs import audio_input, frame_times, video_input
from omnidistill.encoding.encoders.pixels import standardised
from omnidistill.encoding.media.fbank import fbank

Normal = Callable[..., Tensor]


def frames_of(duration: Fraction, rate: int) -> list[int]:
    """First and last frame of each clip, by looking at every frame."""
    found = []
    for clip in range(5):
        start = max(duration - 2, Fraction(0)) * clip / 4
        inside = [k for k in range(round(duration * rate)) if start <= Fraction(k, rate) < start + 2]
        found += [inside[0], inside[-1]]
    return found


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 400), st.sampled_from([1, 8, 16, 64, 24, 25, 30, 60]))
def test_times_lie_in_the_first_and_last_frame_of_each_clip(num_frames: int, rate: int) -> None:
    """Where seconds are no binary fractions, a clip may begin one frame later, as it may in the published code."""
    expected = frames_of(Fraction(num_frames, rate), rate)
    times = frame_times(num_frames / rate, float(rate))
    found = [int(time * rate) for time in times]
    assert times == pytest.approx([(k + 0.5) / rate for k in found])
    slack = 0 if rate in (1, 8, 16, 64) else 1
    assert all(0 <= k - wanted <= slack for k, wanted in zip(found, expected, strict=True))


def test_a_ten_second_video() -> None:
    assert [round(time - 0.02, 6) for time in frame_times(10.0, 25.0)] == [0, 1.96, 2, 3.96, 4, 5.96, 6, 7.96, 8, 9.96]


@pytest.mark.parametrize(("duration", "rate"), [(0.0, 25.0), (3.0, 0.0), (float("nan"), 25.0)])
def test_a_video_takes_time(duration: float, rate: float) -> None:
    with pytest.raises(InputError, match="both values must be positive"):
        frame_times(duration, rate)


@pytest.mark.parametrize("upright", [False, True])
def test_views_are_three_crops_of_each_clip_in_turn(upright: bool) -> None:
    """Frame k has the colour k; on top, a ramp along the long side tells the crops apart."""
    ramp = torch.arange(301, dtype=torch.float64).mul(2 / 3).round()
    frames = (ramp.expand(224, 301) + torch.arange(10).view(10, 1, 1, 1)).expand(10, 3, 224, 301).to(torch.uint8)
    views = video_input(frames.transpose(2, 3) if upright else frames)
    assert views.shape == (15, 3, 2, 224, 224)
    for clip in range(5):
        for crop, offset in enumerate((0, 39, 77)):
            expected = standardised(frames[2 * clip : 2 * clip + 2, :, :, offset : offset + 224]).transpose(0, 1)
            view = views[3 * clip + crop]
            torch.testing.assert_close(view.transpose(2, 3) if upright else view, expected, atol=1e-5, rtol=0)


def test_sound_is_cut_at_the_start_the_middle_and_the_end(normal: Normal) -> None:
    samples = 0.1 * normal(16_000 * 5 + 1).float()
    views = audio_input(samples)
    assert views.shape == (3, 1, 128, 204)
    for view, start in zip(views[:, 0], (0, 24_000, 48_001), strict=True):
        energies = fbank(samples[start : start + 32_000], 16_000, 128).T
        torch.testing.assert_close(view[:, :198] * 9.138 - 4.268, energies, atol=5e-3, rtol=0)
        torch.testing.assert_close(view[:, 198:], torch.full((128, 6), 4.268 / 9.138))


def test_a_short_sound_is_three_times_the_same_and_filled_up(normal: Normal) -> None:
    samples = 0.1 * normal(8_000).float()
    views = audio_input(samples)
    assert torch.equal(views[0], views[1])
    assert torch.equal(views[0], views[2])
    torch.testing.assert_close(views[0, 0, :, 48:], torch.full((128, 156), 4.268 / 9.138))
    assert not torch.allclose(views[0, 0, :, 47], torch.tensor(4.268 / 9.138))


def test_a_sound_must_fill_a_window() -> None:
    with pytest.raises(InputError, match="too short: it has 100 samples"):
        audio_input(torch.zeros(100))
