"""Opening a media file with FFmpeg (PyAV): local files of known containers only; whatever it raises is one MediaError.

A playlist or a `concat` script is a list of other files and addresses: such formats are not among those allowed, and
no protocol but `file` is, so that a file can only ever give its own bytes. Times are in seconds from the start of
the container, for its pictures and its sound alike.
"""

from __future__ import annotations

import errno
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omnidistill.core.errors import InputError
from omnidistill.core.optional import require

Source = Path | str
"""A path, or an address beginning with http:// or https://."""

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,live_flv,asf,ogg,gif,"
    "mp3,wav,w64,flac,aac,aiff,caf,au,amr,ac3,eac3"
)
"""The containers that are opened, as FFmpeg names them."""

ESTIMATED = ("mp3", "aac", "ac3", "eac3", "amr")
"""Containers that hold no duration: FFmpeg guesses one from the number of bytes."""

MISSING = 1.0
"""Seconds that a whole file may lack of what it states: durations are rounded, and count a codec's padding."""

_TAG = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")  # Matroska's duration of a track


class MediaError(InputError):
    """A media file that cannot be used: missing, empty, damaged, truncated, or without what was asked of it."""


@contextmanager
def opened(source: Source) -> Iterator[Any]:
    """The file as an `av` input container; errors while it is read are MediaErrors that name it."""
    av = require("av", "media")
    address = is_address(str(source))
    if not address:
        check_file(Path(source))
    name = str(source) if address else str(Path(source).absolute())
    protocols = "http,https,tcp,tls" if address else "file"
    options = {"protocol_whitelist": protocols, "format_whitelist": FORMATS}
    try:
        with av.open(name, options=options, metadata_errors="replace") as container:
            yield container
    except av.error.FFmpegError as error:
        why = "not a container that is read" if error.errno == errno.EINVAL else error.strerror
        raise MediaError(f"{source}: cannot be decoded ({why}); damaged, truncated or no media file") from error
    except OSError as error:
        raise MediaError(f"{source}: cannot be read ({error.strerror or error})") from error


def check_file(path: Path) -> None:
    """Raise MediaError unless `path` is a regular file with at least one byte."""
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise MediaError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise MediaError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not stat.S_ISREG(found.st_mode):
        raise MediaError(f"{path}: not a regular file")
    if found.st_size == 0:
        raise MediaError(f"{path}: an empty file, zero bytes; get it again")


def is_address(text: str) -> bool:
    """Whether a text is an address on the network and not a path."""
    return text.lower().startswith(("http://", "https://"))


def track(container: Any, kind: str, source: Source) -> Any:
    """The first stream of a kind, "video" or "audio"; a cover picture is no video. Raises MediaError without one."""
    found = next((stream for stream in container.streams if stream.type == kind and not _is_cover(stream)), None)
    if found is None:
        raise MediaError(f"{source}: no {kind} track")
    return found


def has_track(container: Any, kind: str) -> bool:
    """Whether there is a stream of that kind, "video" or "audio"."""
    return any(stream.type == kind and not _is_cover(stream) for stream in container.streams)


def origin(container: Any) -> float:
    """What the clock of the container shows at its start, in seconds."""
    return (container.start_time or 0) / 1e6


def length(container: Any) -> float | None:
    """How long the container says it lasts, in seconds."""
    return None if container.duration is None else container.duration / 1e6


def track_length(container: Any, stream: Any) -> float | None:
    """How long a track lasts by what the file states, in seconds; None where it does not state it."""
    if container.format.name in ESTIMATED:
        return None
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    tag = _TAG.fullmatch(stream.metadata.get("DURATION", ""))
    return None if tag is None else 3600 * int(tag[1]) + 60 * int(tag[2]) + float(tag[3])


def stated_length(container: Any, stream: Any) -> float | None:
    """How long a track lasts by what is stated of it, or else of the container; None where neither is."""
    stated = track_length(container, stream)
    return length(container) if stated is None else stated


def spacing(stream: Any) -> float:
    """Seconds between two pictures on average: for that long the last one is shown. 0 for sound."""
    return 1 / float(stream.average_rate) if stream.type == "video" and stream.average_rate else 0.0


def seek(container: Any, stream: Any, seconds: float) -> None:
    """Go to the last point at or before a time, in seconds from the start, from which `stream` can be decoded."""
    container.seek(int((seconds + origin(container)) / stream.time_base), stream=stream, backward=True)


def frame_time(container: Any, frame: Any, source: Source) -> float:
    """When a frame begins, in seconds from the start. Raises MediaError if the file does not say."""
    if frame.time is None:
        raise MediaError(f"{source}: its frames have no times; put it in a container that has, such as .mp4 or .mkv")
    return float(frame.time) - origin(container)


def _is_cover(stream: Any) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)
