"""Inputs for ImageBind's towers, computed from decoded pictures, frames and sound.

    image   1 view      3 x 224 x 224
    video   15 views    3 x 2 x 224 x 224: first and last frame of 5 clips of 2 s each, in three crops
    audio   3 views     1 x 128 x 204: log-mel filter banks of 3 clips of 2 s each, at 16 kHz

The published model averages its output over the views of an item. Clips are evenly spaced: the first clip begins at the
start of the item, and the last one stops at the end. If an item is shorter than 2 s, all clips are equal.
"""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.pixels import SIDE, picture_input, scaled_frames
from omnidistill.encoding.media.fbank import fbank

RATE = 16_000
_CLIP = 2  # seconds
_VIDEO_CLIPS, _AUDIO_CLIPS = 5, 3
BINS, _FRAMES = 128, 204
AUDIO_MEAN, AUDIO_DEVIATION = -4.268, 9.138
"""Mean and divisor with which log energies are standardised."""
MAX_SECONDS = 2.0
"""Length of the longest sound that the tower reads as one clip."""
NUM_FRAMES = 10

image_input = picture_input


def frame_times(duration: float, frame_rate: float) -> list[float]:
    """Return the times, in seconds, of the ten input frames.

    The tower reads five clips of 2 s, evenly spaced in the video. The input frames are the first and the last frame of
    each clip. A returned time is the midpoint of the interval in which the frame is shown.

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
    num_frames = max(1, round(duration * frame_rate))
    times = []
    for start in _starts(duration, _VIDEO_CLIPS):
        first = min(math.ceil(start * frame_rate), num_frames - 1)
        last = min(math.ceil((start + _CLIP) * frame_rate), num_frames) - 1
        times += [(first + 0.5) / frame_rate, (max(first, last) + 0.5) / frame_rate]
    return times


def video_input(frames: UInt8[Tensor, "10 3 height width"]) -> Float[Tensor, "15 3 2 224 224"]:
    """Return three crops of each clip, from left to right, or from top to bottom if the frames are taller than wide.

    Args:
        frames: the frames at the times that `frame_times` returns.
    """
    clips = torch.unflatten(scaled_frames(frames), 0, (_VIDEO_CLIPS, -1)).transpose(1, 2)
    slack = max(clips.shape[-2:]) - SIDE
    along = -1 if clips.shape[-1] > clips.shape[-2] else -2
    offsets = (0, math.ceil(slack / 2), slack)
    return torch.stack([clips.narrow(along, offset, SIDE) for offset in offsets], 1).flatten(0, 1)


def square_clips(frames: Float[Tensor, "n 10 3 224 224"]) -> Float[Tensor, "n 5 3 2 224 224"]:
    """Return the clips of n videos with square, standardised frames.

    The three crops of a square frame would be identical, so every clip has only one view.
    """
    return torch.unflatten(frames, 1, (_VIDEO_CLIPS, -1)).transpose(2, 3)


def standard_log_energies(sound: Float[Tensor, " samples"]) -> Float[Tensor, "128 columns"]:
    """Return the standardised log-mel filter banks of one clip."""
    return (fbank(sound, RATE, BINS).T - AUDIO_MEAN) / AUDIO_DEVIATION


def one_clip(log_energies: Float[Tensor, "n 128 columns"]) -> Float[Tensor, "n 1 1 128 204"]:
    """Return the model input for n sounds of at most 2 s.

    The three clips of such a short sound would be identical, so the input has only one view per sound.
    """
    silence = (0.0 - AUDIO_MEAN) / AUDIO_DEVIATION  # zeros before scaling, as in training
    return F.pad(log_energies, (0, _FRAMES - log_energies.shape[-1]), value=silence)[:, None, None]


def audio_input(waveform: Float[Tensor, " samples"]) -> Float[Tensor, "3 1 128 204"]:
    """Return the audio tower's input: the log-mel filter banks of three clips of the sound.

    Args:
        waveform: one channel, with values in [-1, 1] and 16,000 samples per second. The published model uses the first
            channel of a sound.

    Raises:
        InputError: the sound is shorter than 25 ms.
    """
    starts = [int(start * RATE) for start in _starts(len(waveform) / RATE, _AUDIO_CLIPS)]
    views = []
    for start in starts:
        energies = fbank(waveform[start : start + _CLIP * RATE], RATE, BINS).T
        padded = F.pad(energies, (0, _FRAMES - energies.shape[1]))  # zeros before scaling, as in training
        views.append((padded - AUDIO_MEAN) / AUDIO_DEVIATION)
    return torch.stack(views).unsqueeze(1)


def _starts(duration: float, num_clips: int) -> list[Fraction]:
    """Return the start of each clip in seconds, as an exact fraction. The caller rounds it to frames or samples."""
    latest = max(Fraction(duration) - _CLIP, Fraction(0))
    return [latest * clip / (num_clips - 1) for clip in range(num_clips)]
