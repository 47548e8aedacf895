"""Decode the audio of a file between two times, and resample it.

Decoding a clip gives the same samples as decoding the complete file and cutting out the clip. Channels are not mixed:
the encoder decides whether to average the channels or to use the first one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.optional import require
from omnidistill.encoding.media.container import (
    MISSING,
    MediaError,
    Source,
    check_cost,
    file_size,
    frame_time,
    open_container,
    seek,
    track,
    track_length,
)

_MARGIN = 1  # whole seconds to decode before and after a clip, as context for codecs and the resampler
_BYTES_PER_SAMPLE = 4  # of float32


def read_sound(
    source: Source, rate: int, start: float = 0.0, end: float | None = None
) -> Float[Tensor, "channels samples"]:
    """Return the audio from `start` to `end`, as float32 samples in [-1, 1] with one row per channel.

    Resampling uses libsoxr with its high-quality setting.

    Args:
        source: file or URL.
        rate: sampling rate of the result, in Hz.
        start: start of the clip, in seconds from the start of the file.
        end: end of the clip, in seconds from the start of the file. The result is shorter if the track ends earlier.
            None means the end of the track, including the padding that the codec adds (up to 0.1 s).

    Raises:
        MediaError: `rate`, `start` or `end` is invalid; or the file cannot be decoded, has no audio track, is
            truncated, ends before `start`, or takes too much memory for its size (see
            `io.input_files.check_expansion`).
    """
    if rate < 1 or not 0 <= start < (float("inf") if end is None else end):
        raise MediaError(
            f"{source}: invalid request for sound at rate {rate} from {start} to {end} s; "
            "pass a rate >= 1 and 0 <= start < end"
        )
    begin = float(max(0, int(start) - _MARGIN))
    samples, own_rate = _decoded(source, begin, end, rate)
    sound = resample(samples, own_rate, rate)
    first = round((start - begin) * rate)
    last = sound.shape[1] if end is None else first + round((end - start) * rate)
    cut = sound[:, first:last]
    if cut.shape[1] == 0:
        raise MediaError(f"{source}: the sound ends at {begin + sound.shape[1] / rate:.2f} s, before {start:.2f} s")
    return cut.contiguous()


def resample(samples: Float[Tensor, "channels n"], rate: int, to: int) -> Float[Tensor, "channels m"]:
    """Change the sampling rate from `rate` to `to` Hz. The result has ceil(n * to / rate) float32 samples."""
    if rate == to:
        return samples
    padded = np.pad(samples.numpy(), ((0, 0), (0, -(-rate // to)))).T  # silence, for the last output sample
    sound = require("soxr", "media").resample(padded, rate, to)
    return torch.from_numpy(sound[: -(-samples.shape[1] * to // rate)]).T.contiguous()


def _decoded(source: Source, start: float, end: float | None, to: int) -> tuple[Float[Tensor, "channels n"], int]:
    """Decode the audio from `start` to at least `end`. Return the samples and the sampling rate of the file.

    Raise MediaError if these samples and their copy at `to` Hz take too much memory.
    """
    with open_container(source) as container:
        stream = track(container, "audio", source)
        stated = track_length(container, stream)
        if start > 0:
            seek(container, stream, start)
        pieces: list[np.ndarray] = []
        position = 0  # index of the next sample, counted from `start`
        for frame in container.decode(stream):
            samples, rate = _floats(frame), frame.sample_rate
            if not pieces:
                position = round((frame_time(container, frame, source) - start) * rate)
                if (latest := stated if end is None else end) is not None and start + position / rate > latest:
                    break
                _check_memory(container, source, max(0, position), (len(samples), rate), to)
                pieces.append(np.zeros((len(samples), max(0, position)), np.float32))
                own = (len(samples), rate)
            if (len(samples), rate) != own:
                raise MediaError(f"{source}: the sampling rate or the number of channels changes; convert the file")
            pieces.append(samples[:, max(0, -position) :])
            position += samples.shape[1]
            _check_memory(container, source, position, own, to)
            if end is not None and position >= (end - start + _MARGIN) * rate:
                break
    if not pieces:
        raise MediaError(
            f"{source}: no sound can be decoded from {start} s on; the track ends before the clip, starts after it, or "
            "is damaged"
        )
    last = start + position / own[1]
    if stated is not None and min(stated, stated if end is None else end) > last + MISSING:
        raise MediaError(f"{source}: truncated: the sound ends at {last:.2f} of {stated:.2f} s; download it again")
    return torch.from_numpy(np.concatenate(pieces, axis=1)), own[1]


def _check_memory(container: Any, source: Source, count: int, form: tuple[int, int], to: int) -> None:
    """Check that `count` samples and their copy at `to` Hz do not take too much memory.

    `form` contains the number of channels and the sampling rate of the file.
    """
    channels, rate = form
    num_bytes = _BYTES_PER_SAMPLE * channels * (count + count * to // rate)
    check_cost(source, file_size(container), num_bytes, "pass the start and end of a shorter clip")


def _floats(frame: Any) -> Float[np.ndarray, "channels n"]:
    """Return the samples of an audio frame as float32 in [-1, 1], with one row per channel."""
    samples: np.ndarray = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, len(frame.layout.channels)).T
    if samples.dtype.kind != "f":
        half = 2 ** (8 * samples.dtype.itemsize - 1)
        samples = (samples.astype(np.float64) - (half if samples.dtype.kind == "u" else 0)) / half
    return samples.astype(np.float32)
