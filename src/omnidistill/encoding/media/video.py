"""Frames of a video at given times: the frame shown at time t is the last one that starts at or before t.

Frames are addressed by time and never by index, so variable frame rates need no special treatment. The reader seeks if
the next time is far ahead, and rotates frames upright as the file's metadata states. Pixels are assumed to be square.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from omnidistill.encoding.media.container import (
    MISSING,
    MediaError,
    Source,
    frame_time,
    open_container,
    seek,
    spacing,
    stated_length,
    track,
    track_length,
)

_NEAR = 1.0  # seconds; up to this distance decoding is faster than seeking (about one group of pictures)
_TICK = 1e-3  # seconds; timestamps are stored in units of up to a millisecond


def read_frames(source: Source, times: Sequence[float]) -> UInt8[Tensor, "n 3 height width"]:
    """Return the frames shown at `times`, RGB with values in 0-255, upright.

    A time before the first frame gives the first frame, and one after the last frame the last. All frames are scaled
    to the size of the first one read.

    Args:
        source: file or URL.
        times: seconds from the start, in any order.

    Raises:
        MediaError: a time is negative or not finite, or the file cannot be decoded, has no video track, or ends before
            one of the times.
    """
    if not times or not all(0 <= time < float("inf") for time in times):
        raise MediaError(f"{source}: frames at {list(times)}: pass at least one time, each a number of seconds >= 0")
    ordered = sorted(set(times))
    with open_container(source) as container:
        stream = track(container, "video", source)
        images = dict(zip(ordered, _upright(_shown(container, stream, ordered, source)), strict=True))
    return torch.from_numpy(np.stack([images[time] for time in times])).permute(0, 3, 1, 2).contiguous()


def video_duration(source: Source) -> float:
    """Return the duration of the video in seconds: the stated one, or else the time of the last frame.

    Raises:
        MediaError: the file cannot be decoded or has no video track.
    """
    with open_container(source) as container:
        stream = track(container, "video", source)
        if (stated := stated_length(container, stream)) is not None:
            return stated
        if (last := last_frame_time(container, stream, source)) < 0:
            raise MediaError(f"{source}: no frame can be decoded; damaged, truncated or not a media file")
        return last


def last_frame_time(container: Any, stream: Any, source: Source, start: float = 0.0) -> float:
    """Return when the last frame that can be decoded starts, in seconds; -1.0 if none can be decoded.

    Decoding starts at `start`.
    """
    from av.error import FFmpegError

    last = -1.0
    with suppress(FFmpegError):  # a decoding error counts as the end of the file
        seek(container, stream, start)
        for frame in container.decode(stream):
            last = max(last, frame_time(container, frame, source))
    return last


def _shown(container: Any, stream: Any, times: Sequence[float], source: Source) -> Iterator[Any]:
    """Yield the frame shown at each of the ascending `times`."""
    frames: Iterator[Any] = container.decode(stream)
    shown = next(frames, None)
    if shown is None:
        raise MediaError(f"{source}: no frame can be decoded; damaged, truncated or not a media file")
    ahead = next(frames, None)
    for time in times:
        if ahead is not None and time > frame_time(container, ahead, source) + _NEAR:
            frames, shown, ahead = _seek_before(container, stream, time, source, (frames, shown, ahead))
        while ahead is not None and frame_time(container, ahead, source) <= time + _TICK:
            shown, ahead = ahead, next(frames, None)
        if ahead is None:
            _check_end(container, stream, frame_time(container, shown, source), time, source)
        yield shown


def _check_end(container: Any, stream: Any, last: float, time: float, source: Source) -> None:
    """Raise MediaError if frames are missing at the end: some truncated containers cause no decoding error."""
    stated = track_length(container, stream)
    if stated is not None and min(time, stated) > last + spacing(stream) + MISSING:
        raise MediaError(f"{source}: truncated: the last frame is at {last:.2f} of {stated:.2f} s; download it again")


def _seek_before(
    container: Any, stream: Any, time: float, source: Source, current: tuple[Iterator[Any], Any, Any]
) -> tuple[Iterator[Any], Any, Any]:
    """Seek to a point at or before `time`; to the start of the file if its index leads past that time."""
    for start in (time, 0.0):
        seek(container, stream, start)
        frames: Iterator[Any] = container.decode(stream)
        shown = next(frames, None)
        if shown is not None and (frame_time(container, shown, source) <= time + _TICK or start == 0.0):
            return frames, shown, next(frames, None)
    return current


def _upright(frames: Iterator[Any]) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    size: dict[str, int] = {}
    for frame in frames:
        size = size or {"width": frame.width, "height": frame.height}
        turns = round(frame.rotation / 90)  # counter-clockwise, as in np.rot90
        yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24", **size), turns))
