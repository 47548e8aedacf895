"""Sound as a waveform at a wanted rate, cut by time.

The cut is made on the grid of the file's own samples, then resampled once, so a cut equals the same stretch of the
whole. Channels stay apart: whether they are averaged or the first is taken is for the encoder to say.
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
    frame_time,
    opened,
    seek,
    stated_length,
    track,
    track_length,
)

_MARGIN = 1  # whole seconds decoded before a cut: codecs and the resampler need what came before


def read_sound(
    source: Source, rate: int, start: float = 0.0, end: float | None = None
) -> Float[Tensor, "channels samples"]:
    """The sound from `start` to `end`, in seconds, at `rate` samples a second; float32, full scale is 1.

    end: None is the end of the track, with the padding that its codec adds (up to a tenth of a second). A track that
    ends before `end` gives fewer samples. Source of the resampling: libsoxr, high quality.

    Raises MediaError for a file that cannot be decoded, has no audio track, is cut off or ends before `start`, and for
    a rate or times that make no sense.
    """
    if rate < 1 or not 0 <= start < (float("inf") if end is None else end):
        raise MediaError(
            f"{source}: sound at rate {rate} from {start} to {end} s: give a rate >= 1 and 0 <= start < end"
        )
    begin = float(max(0, int(start) - _MARGIN))
    samples, own_rate = _decoded(source, begin, end)
    sound = resample(samples, own_rate, rate)
    first = round((start - begin) * rate)
    last = sound.shape[1] if end is None else first + round((end - start) * rate)
    cut = sound[:, first:last]
    if cut.shape[1] == 0:
        raise MediaError(f"{source}: its sound ends at {begin + sound.shape[1] / rate:.2f} s, before {start:.2f} s")
    return cut.contiguous()


def sound_duration(source: Source) -> float:
    """How long the sound of a file lasts, in seconds: what it says, or else what can be decoded.

    Raises MediaError for a file that cannot be decoded or has no audio track.
    """
    with opened(source) as container:
        stream = track(container, "audio", source)
        if (stated := stated_length(container, stream)) is not None:
            return stated
    samples, own_rate = _decoded(source, 0.0, None)
    return samples.shape[1] / own_rate


def resample(samples: Float[Tensor, "channels n"], rate: int, to: int) -> Float[Tensor, "channels m"]:
    """float32 samples at `rate` a second as samples at `to` a second: m = n to / rate, rounded up."""
    if rate == to:
        return samples
    padded = np.pad(samples.numpy(), ((0, 0), (0, -(-rate // to)))).T  # silence for the last, of which there is a part
    sound = require("soxr", "media").resample(padded, rate, to)
    return torch.from_numpy(sound[: -(-samples.shape[1] * to // rate)]).T.contiguous()


def _decoded(source: Source, start: float, end: float | None) -> tuple[Float[Tensor, "channels n"], int]:
    """The samples from `start` to at least `end`, at the file's own rate, and that rate."""
    with opened(source) as container:
        stream = track(container, "audio", source)
        stated = track_length(container, stream)
        if start > 0:
            seek(container, stream, start)
        pieces: list[np.ndarray] = []
        position = 0  # of the next sample, counted from `start`
        for frame in container.decode(stream):
            samples, rate = _floats(frame), frame.sample_rate
            if not pieces:
                position = round((frame_time(container, frame, source) - start) * rate)
                if (latest := stated if end is None else end) is not None and start + position / rate > latest:
                    break
                pieces.append(np.zeros((len(samples), max(0, position)), np.float32))
                own = (len(samples), rate)
            if (len(samples), rate) != own:
                raise MediaError(f"{source}: its sound changes rate or channels on the way; encode it anew")
            pieces.append(samples[:, max(0, -position) :])
            position += samples.shape[1]
            if end is not None and position >= (end - start + _MARGIN) * rate:
                break
    if not pieces:
        raise MediaError(
            f"{source}: no sound between {start} s and the end; it ends before, begins after or is damaged"
        )
    last = start + position / own[1]
    if stated is not None and min(stated, stated if end is None else end) > last + MISSING:
        raise MediaError(f"{source}: truncated: its sound ends at {last:.2f} of {stated:.2f} s; get it again")
    return torch.from_numpy(np.concatenate(pieces, axis=1)), own[1]


def _floats(frame: Any) -> Float[np.ndarray, "channels n"]:
    """The samples of a frame as float32, full scale 1, one row a channel."""
    samples: np.ndarray = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, len(frame.layout.channels)).T
    if samples.dtype.kind != "f":
        half = 2 ** (8 * samples.dtype.itemsize - 1)
        samples = (samples.astype(np.float64) - (half if samples.dtype.kind == "u" else 0)) / half
    return samples.astype(np.float32)
