"""Determine whether a file contains an image, a video or audio, and whether the file is complete."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from omnidistill.encoding.media.container import (
    ESTIMATED,
    MISSING,
    MediaError,
    Source,
    has_track,
    is_address,
    length,
    open_container,
    spacing,
    track,
)
from omnidistill.encoding.media.picture import NotAPicture, picture_size
from omnidistill.encoding.media.video import last_frame_time

_TAIL = 1.0  # number of seconds at the end of a file to decode, to check that the file is complete


@dataclass(frozen=True)
class Probe:
    """Properties of a media file.

    Attributes:
        kind: kind of the file.
        duration: duration in seconds, as stated in the file; None for images, or if the file states none.
        has_audio: whether the file has an audio track.
        width: width in pixels, after rotation to upright; None for audio.
        height: height in pixels, after rotation to upright; None for audio.
    """

    kind: Literal["image", "video", "audio"]
    duration: float | None
    has_audio: bool
    width: int | None
    height: int | None


def probe(source: Source) -> Probe:
    """Return the properties of a media file. Only its headers and the first frame of a video are read.

    Raises:
        MediaError: the file is missing, empty or damaged, or is not a media file.
    """
    if not is_address(str(source)):
        with suppress(NotAPicture):
            return Probe("image", None, False, *picture_size(Path(source)))
    with open_container(source) as container:
        if has_track(container, "video"):
            size = _size(container, source)
            return Probe("video", length(container), has_track(container, "audio"), *size)
        track(container, "audio", source)
        return Probe("audio", length(container), True, None, None)


def check_complete(source: Source) -> None:
    """Check that a video or audio file is not truncated.

    The end of the file is decoded, and the time of the last frame is compared with the duration that the file states. A
    file that states no duration passes the check if it is not empty.

    Raises:
        MediaError: a track has no frame or no sample, or the last frame ends clearly before the stated duration. The
            message then contains both times.
    """
    with open_container(source) as container:
        stated = length(container)
        streams = [track(container, kind, source) for kind in ("video", "audio") if has_track(container, kind)]
        for stream in streams:
            if next(container.decode(stream), None) is None:
                what = "picture" if stream.type == "video" else "sample"
                raise MediaError(f"{source}: the {stream.type} track has no {what} that can be decoded")
            container.seek(0)
        if stated is None or container.format.name in ESTIMATED:
            return
        for start in (max(0.0, stated - _TAIL), 0.0):  # 0.0 only to report how much can be decoded
            last = max((last_frame_time(container, stream, source, start) for stream in streams), default=-1.0)
            if last + MISSING + max(map(spacing, streams), default=0.0) >= stated:
                return
    raise MediaError(f"{source}: truncated: {max(0.0, last):.2f} of {stated:.2f} s can be decoded; download it again")


def _size(container: Any, source: Source) -> tuple[int, int]:
    """Return the width and height of the first video frame, after rotation to upright."""
    frame = next(container.decode(track(container, "video", source)), None)
    if frame is None:
        raise MediaError(f"{source}: no frame can be decoded; the file is damaged, truncated or not a media file")
    return (frame.height, frame.width) if round(frame.rotation / 90) % 2 else (frame.width, frame.height)
