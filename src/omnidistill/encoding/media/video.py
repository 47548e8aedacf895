"""Read the frames of a video at given times: the frame shown at time t is the last one that starts at or before t.

Frames are selected by time and never by index, so videos with variable frame rates are supported. The reader skips
ahead if the next time is far away. Frames are rotated upright, as the file's metadata require. Pixels are assumed to be
square.
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
    check_cost,
    file_size,
    frame_time,
    open_container,
    seek,
    spacing,
    stated_length,
    track,
    track_length,
)

_NEAR = 1.0  # seconds; up to this distance (about one group of pictures), decoding is faster than seeking
_TICK = 1e-3  # seconds; tolerance for timestamps, which files may round to milliseconds


def read_frames(source: Source, times: Sequence[float]) -> UInt8[Tensor, "n 3 height width"]:
    """Return the frames shown at `times`, as upright RGB images with values in 0-255.

    Times before the first frame give the first frame, and times after the last frame give the last frame. All frames
    are scaled to the size of the first frame that is read.

    Args:
        source: file or URL.
        times: seconds from the start of the file, in any order.

    Raises:
        MediaError: `times` is empty, or a time is negative or not finite; or the file cannot be decoded, has no video
            track, is truncated before one of the times, or takes too much memory for its size (see
            `io.input_files.check_expansion`).
    """
    if not times or not all(0 <= time < float("inf") for time in times):
        raise MediaError(f"{source}: invalid frame times {list(times)}; pass at least one, all in seconds >= 0")
    ordered = sorted(set(times))
    with open_container(source) as container:
        stream = track(container, "video", source)
        shown = _shown(container, stream, ordered, source)
        images = dict(zip(ordered, _upright(_affordable(shown, container, len(times), source)), strict=True))
    return torch.from_numpy(np.stack([images[time] for time in times])).permute(0, 3, 1, 2).contiguous()


def video_duration(source: Source) -> float:
    """Return the duration of a video, in seconds: from its metadata, or else the time of the last frame.

    Raises:
        MediaError: the file cannot be decoded or has no video track.
    """
    with open_container(source) as container:
        stream = track(container, "video", source)
        if (stated := stated_length(container, stream)) is not None:
            return stated
        if (last := last_frame_time(container, stream, source)) < 0:
            raise MediaError(f"{source}: no frame can be decoded; the file is damaged, truncated or not a media file")
        return last


def last_frame_time(container: Any, stream: Any, source: Source, start: float = 0.0) -> float:
    """Return the start time of the last frame that can be decoded, in seconds; -1.0 if no frame can be decoded.

    Decoding begins at the time `start`.
    """
    from av.error import FFmpegError

    last = -1.0
    with suppress(FFmpegError):  # a decoding error counts as the end of the file
        seek(container, stream, start)
        for frame in container.decode(stream):
            last = max(last, frame_time(container, frame, source))
    return last


def _shown(container: Any, stream: Any, times: Sequence[float], source: Source) -> Iterator[Any]:
    """Yield the frame that is shown at each of the `times`, which must be in ascending order."""
    frames: Iterator[Any] = container.decode(stream)
    shown = next(frames, None)
    if shown is None:
        raise MediaError(f"{source}: no frame can be decoded; the file is damaged, truncated or not a media file")
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
    """Raise MediaError if the end of the video is missing. Decoding alone does not detect every truncated file."""
    stated = track_length(container, stream)
    if stated is not None and min(time, stated) > last + spacing(stream) + MISSING:
        raise MediaError(f"{source}: truncated: the last frame is at {last:.2f} of {stated:.2f} s; download it again")


def _seek_before(
    container: Any, stream: Any, time: float, source: Source, current: tuple[Iterator[Any], Any, Any]
) -> tuple[Iterator[Any], Any, Any]:
    """Seek to a frame at or before `time`. If a faulty index leads to a later frame, seek to the start of the file."""
    for start in (time, 0.0):
        seek(container, stream, start)
        frames: Iterator[Any] = container.decode(stream)
        shown = next(frames, None)
        if shown is not None and (frame_time(container, shown, source) <= time + _TICK or start == 0.0):
            return frames, shown, next(frames, None)
    return current


def _affordable(frames: Iterator[Any], container: Any, count: int, source: Source) -> Iterator[Any]:
    """Yield the frames. First check that `count` RGB images as large as the first frame do not take too much memory."""
    first = next(frames)
    remedy = "reduce the size of its frames, or select fewer frames"
    check_cost(source, file_size(container), 3 * count * first.width * first.height, remedy)
    yield first
    yield from frames


def _upright(frames: Iterator[Any]) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    size: dict[str, int] = {}
    for frame in frames:
        size = size or {"width": frame.width, "height": frame.height}
        turns = round(frame.rotation / 90)  # counter-clockwise, as in np.rot90
        yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24", **size), turns))
