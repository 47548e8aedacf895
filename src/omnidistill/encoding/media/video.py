"""Frames of a video at given times: the frame that is shown at t is the last one that begins at or before t.

By time and never by index, so variable frame rates need nothing special. Reading seeks where the next time is far,
and turns frames upright as the file asks for. Pixels are taken as square.
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
    opened,
    seek,
    spacing,
    stated_length,
    track,
    track_length,
)

_NEAR = 1.0  # seconds ahead that are decoded rather than sought: about one group of pictures
_TICK = 1e-3  # seconds; times are stored in units of up to a millisecond


def read_frames(source: Source, times: Sequence[float]) -> UInt8[Tensor, "n 3 height width"]:
    """The frames shown at `times` (seconds from the start, in any order), RGB in 0-255, upright.

    Before the first frame that is the first, after the last the last. All have the size of the first one read.
    Raises MediaError for a file that cannot be decoded, has no video track or is cut off before a time; and for a time
    that is no number >= 0.
    """
    if not times or not all(0 <= time < float("inf") for time in times):
        raise MediaError(f"{source}: frames at {list(times)}: give at least one time, each a number of seconds >= 0")
    ordered = sorted(set(times))
    with opened(source) as container:
        stream = track(container, "video", source)
        images = dict(zip(ordered, _upright(_shown(container, stream, ordered, source)), strict=True))
    return torch.from_numpy(np.stack([images[time] for time in times])).permute(0, 3, 1, 2).contiguous()


def video_duration(source: Source) -> float:
    """How long the pictures of a file last, in seconds: what it says, or else the time of its last frame.

    Raises MediaError for a file that cannot be decoded or has no video track.
    """
    with opened(source) as container:
        stream = track(container, "video", source)
        if (stated := stated_length(container, stream)) is not None:
            return stated
        if (last := last_frame_time(container, stream, source)) < 0:
            raise MediaError(f"{source}: no frame can be decoded; damaged, truncated or no media file")
        return last


def last_frame_time(container: Any, stream: Any, source: Source, start: float = 0.0) -> float:
    """When the last frame of a stream that can be decoded begins, in seconds; looks from `start` on. -1.0: none can."""
    from av.error import FFmpegError

    last = -1.0
    with suppress(FFmpegError):  # the file ends where its errors begin
        seek(container, stream, start)
        for frame in container.decode(stream):
            last = max(last, frame_time(container, frame, source))
    return last


def _shown(container: Any, stream: Any, times: Sequence[float], source: Source) -> Iterator[Any]:
    """The frame shown at each of the ascending `times`."""
    frames: Iterator[Any] = container.decode(stream)
    shown = next(frames, None)
    if shown is None:
        raise MediaError(f"{source}: no frame can be decoded; damaged, truncated or no media file")
    ahead = next(frames, None)
    for time in times:
        if ahead is not None and time > frame_time(container, ahead, source) + _NEAR:
            frames, shown, ahead = _sought(container, stream, time, source, (frames, shown, ahead))
        while ahead is not None and frame_time(container, ahead, source) <= time + _TICK:
            shown, ahead = ahead, next(frames, None)
        if ahead is None:
            _check_end(container, stream, frame_time(container, shown, source), time, source)
        yield shown


def _check_end(container: Any, stream: Any, last: float, time: float, source: Source) -> None:
    """Some containers end without an error where they were cut: then there are no frames where some are stated."""
    stated = track_length(container, stream)
    if stated is not None and min(time, stated) > last + spacing(stream) + MISSING:
        raise MediaError(
            f"{source}: truncated: the last of its frames is at {last:.2f} of {stated:.2f} s; get it again"
        )


def _sought(
    container: Any, stream: Any, time: float, source: Source, before: tuple[Iterator[Any], Any, Any]
) -> tuple[Iterator[Any], Any, Any]:
    """Decoding from a point at or before `time`; from the very start where a file's index leads beyond it."""
    for start in (time, 0.0):
        seek(container, stream, start)
        frames: Iterator[Any] = container.decode(stream)
        shown = next(frames, None)
        if shown is not None and (frame_time(container, shown, source) <= time + _TICK or start == 0.0):
            return frames, shown, next(frames, None)
    return before


def _upright(frames: Iterator[Any]) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    size: dict[str, int] = {}
    for frame in frames:
        size = size or {"width": frame.width, "height": frame.height}
        turns = round(frame.rotation / 90)  # counter-clockwise, as numpy counts
        yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24", **size), turns))
