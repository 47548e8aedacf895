"""What LanguageBind's towers take, from decoded frames and sound; where the published transforms draw, these do not.

    image   3 x 224 x 224
    video   3 x 8 x 224 x 224: frames evenly spaced from the first to the last, the centre (published: a random crop,
            flipped half of the time)
    audio   3 x 112 x 1036: log-mel filter banks of 10.38 s at 16 kHz, three times; of a longer sound the first chunk in
            each third of all (published: a random one), a shorter one again from its start
Texts: the tokens of `encoders.imagebind.tokens`; what follows the end token has no say.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.pixels import centre, picture_input, scaled_frames
from omnidistill.encoding.media.fbank import fbank

RATE = 16_000
NUM_FRAMES = 8
_BINS, _FRAMES = 112, 1036
_AUDIO_MEAN, _AUDIO_DEVIATION = -4.2677393, 4.5689974

image_input = picture_input


def frame_times(duration: float, frame_rate: float) -> list[float]:
    """When the frames of a video are shown, in seconds from its start; each time lies in the middle of its frame.

    duration in seconds, frame_rate in frames a second (their mean). Raises InputError if either is not above 0.
    """
    if not (duration > 0 and frame_rate > 0):
        raise InputError(f"a video of {duration} s at {frame_rate} frames a second; both must be above 0")
    last = max(1, round(duration * frame_rate)) - 1
    return [(last * k // (NUM_FRAMES - 1) + 0.5) / frame_rate for k in range(NUM_FRAMES)]


def video_input(frames: UInt8[Tensor, "8 3 height width"]) -> Float[Tensor, "3 8 224 224"]:
    """The frames shown at `frame_times`."""
    return centre(scaled_frames(frames)).transpose(0, 1).contiguous()


def audio_input(waveform: Float[Tensor, " samples"]) -> Float[Tensor, "3 112 1036"]:
    """A sound: one channel in -1..1, 16,000 samples a second. Raises InputError if it is shorter than 25 ms."""
    energies = fbank(waveform, RATE, _BINS)
    if len(energies) < _FRAMES:
        energies = energies.repeat(-(-_FRAMES // len(energies)), 1)[:_FRAMES]
    num_starts = len(energies) - _FRAMES + 1
    starts = [-(-num_starts * third // 3) % num_starts for third in range(3)]
    chunks = torch.stack([energies[start : start + _FRAMES].T for start in starts])
    return (chunks - _AUDIO_MEAN) / (2 * _AUDIO_DEVIATION)
