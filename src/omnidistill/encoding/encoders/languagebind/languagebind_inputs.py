"""Inputs for LanguageBind's towers, computed from decoded pictures, frames and sound. Nothing is random.

image   3 x 224 x 224
video   3 x 8 x 224 x 224: eight frames, evenly spaced from the first to the last frame of the video, and cropped to
        their centre. The published transform crops at random, and flips with probability 1/2.
audio   3 x 112 x 1036: log-mel filter banks of three chunks of 10.38 s at 16 kHz. If the sound is shorter than a
        chunk, it is repeated, and the three chunks are equal. Otherwise, let T be the latest time at which a chunk can
        start. The chunks start at about 0, T/3 and 2T/3; for a sound of 40.38 s, these are 0, 10 and 20 s. The
        published transform draws the starts at random.
text    token ids from `encoders.imagebind.clip_tokens`; ids after the end token have no effect
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
BINS, _FRAMES = 112, 1036
AUDIO_MEAN, AUDIO_DEVIATION = -4.2677393, 2 * 4.5689974
"""Mean and divisor with which log energies are standardised."""
MAX_SECONDS = 10.38
"""Length of the longest sound that is not divided into chunks."""

image_input = picture_input


def frame_times(duration: float, frame_rate: float) -> list[float]:
    """Return the times of the eight input frames in seconds.

    Each time is the midpoint of the interval in which the frame is shown.

    Args:
        duration: duration of the video in seconds.
        frame_rate: mean number of frames per second.

    Raises:
        InputError: the duration or the frame rate is not above 0.
    """
    if not (duration > 0 and frame_rate > 0):
        raise InputError(
            f"the video lasts {duration} s and has {frame_rate} frames per second; both values must be positive, "
            "so save the video again"
        )
    last = max(1, round(duration * frame_rate)) - 1
    return [(last * k // (NUM_FRAMES - 1) + 0.5) / frame_rate for k in range(NUM_FRAMES)]


def video_input(frames: UInt8[Tensor, "8 3 height width"]) -> Float[Tensor, "3 8 224 224"]:
    """Return the video tower's input.

    Args:
        frames: the frames at the times that `frame_times` returns.
    """
    return centre(scaled_frames(frames)).transpose(0, 1).contiguous()


def square_clips(frames: Float[Tensor, "n 8 3 224 224"]) -> Float[Tensor, "n 1 3 8 224 224"]:
    """Return the input for n videos with square, standardised frames."""
    return frames.transpose(1, 2).unsqueeze(1)


def standard_log_energies(sound: Float[Tensor, " samples"]) -> Float[Tensor, "112 columns"]:
    """Return the standardised log-mel filter banks of a sound."""
    return (fbank(sound, RATE, BINS).T - AUDIO_MEAN) / AUDIO_DEVIATION


def one_clip(log_energies: Float[Tensor, "n 112 columns"]) -> Float[Tensor, "n 1 3 112 1036"]:
    """Return the audio tower's input for n sounds of at most 10.38 s.

    The input consists of three equal chunks. Each contains the sound, repeated until it fills 10.38 s.
    """
    times = -(-_FRAMES // log_energies.shape[-1])
    return log_energies.repeat(1, 1, times)[:, None, None, :, :_FRAMES].expand(-1, 1, 3, -1, -1)


def audio_input(waveform: Float[Tensor, " samples"]) -> Float[Tensor, "3 112 1036"]:
    """Return the audio tower's input for a sound.

    Args:
        waveform: one channel with values in [-1, 1] and 16,000 samples per second.

    Raises:
        InputError: the sound is shorter than 25 ms.
    """
    energies = fbank(waveform, RATE, BINS)
    if len(energies) < _FRAMES:
        energies = energies.repeat(-(-_FRAMES // len(energies)), 1)[:_FRAMES]
    num_starts = len(energies) - _FRAMES + 1
    starts = [-(-num_starts * third // 3) % num_starts for third in range(3)]
    chunks = torch.stack([energies[start : start + _FRAMES].T for start in starts])
    return (chunks - AUDIO_MEAN) / AUDIO_DEVIATION
