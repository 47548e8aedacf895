"""What a file is, by its content and not its name: picture, video or sound; and whether all of it is there."""

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
    opened,
    spacing,
    track,
)
from omnidistill.encoding.media.picture import NotAPicture, picture_size
from omnidistill.encoding.media.video import last_frame_time

_TAIL = 1.0  # seconds before the end from which a file is decoded to see whether it is whole


@dataclass(frozen=True)
class Probe:
    """What was found in a file.

    duration: seconds; None for a picture, and where the file does not say. width, height: pixels as shown, upright;
    None for sound.
    """

    kind: Literal["image", "video", "audio"]
    duration: float | None
    has_audio: bool
    width: int | None
    height: int | None


def probe(source: Source) -> Probe:
    """Read the headers of a file, and the first frame of a video.

    Raises MediaError for a file that is missing, empty, damaged, or no picture, video or sound.
    """
    if not is_address(str(source)):
        with suppress(NotAPicture):
            return Probe("image", None, False, *picture_size(Path(source)))
    with opened(source) as container:
        if has_track(container, "video"):
            size = _size(container, source)
            return Probe("video", length(container), has_track(container, "audio"), *size)
        track(container, "audio", source)
        return Probe("audio", length(container), True, None, None)


def check_whole(source: Source) -> None:
    """Decode the end of a video or sound and compare with the duration that the file states.

    A file that states none passes. Raises MediaError, with both times, if more than a second is missing: some
    containers are cut without any error when they are read.
    """
    with opened(source) as container:
        stated = length(container)
        if stated is None or container.format.name in ESTIMATED:
            return
        streams = [track(container, kind, source) for kind in ("video", "audio") if has_track(container, kind)]
        for start in (max(0.0, stated - _TAIL), 0.0):  # from the start only to say how much there is
            last = max((last_frame_time(container, stream, source, start) for stream in streams), default=-1.0)
            if last + MISSING + max(map(spacing, streams), default=0.0) >= stated:
                return
    raise MediaError(f"{source}: truncated: {max(0.0, last):.2f} of {stated:.2f} s can be decoded; get it again")


def _size(container: Any, source: Source) -> tuple[int, int]:
    """Width and height of the first frame, upright."""
    frame = next(container.decode(track(container, "video", source)), None)
    if frame is None:
        raise MediaError(f"{source}: no frame can be decoded; damaged, truncated or no media file")
    return (frame.height, frame.width) if round(frame.rotation / 90) % 2 else (frame.width, frame.height)
