"""Open media files with FFmpeg (PyAV), restricted to known container formats; every failure raises MediaError.

Opening a file never reads another file or URL: playlists and `concat` scripts, which list other files, are not allowed,
and local files may use only the `file` protocol. Times are in seconds from the start of the container, for both video
and audio.
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
from omnidistill.io.input_files import check_memory, most_memory

Source = Path | str
"""A path, or a URL that starts with http:// or https://."""

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,live_flv,asf,ogg,gif,"
    "mp3,wav,w64,flac,aac,aiff,caf,au,amr,ac3,eac3"
)
"""Allowed container formats, by their FFmpeg names."""

ESTIMATED = ("mp3", "aac", "ac3", "eac3", "amr")
"""Containers that do not store a duration: FFmpeg estimates one from the number of bytes."""

MISSING = 1.0
"""Tolerance in seconds for the duration of a complete file: stated durations are rounded and include codec padding."""

BYTES_PER_PIXEL = 12
"""Memory that one pixel takes while a picture or a frame is decoded and converted, in bytes."""

_MOST_PIXELS = 2**31 - 1  # largest limit that FFmpeg accepts
_TAG = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")  # duration tag of a Matroska track


class MediaError(InputError):
    """A media file that cannot be used: missing, empty, damaged, truncated, or without the requested content."""


@contextmanager
def open_container(source: Source) -> Iterator[Any]:
    """Open a file or URL as an `av` input container.

    Raises:
        MediaError: the file cannot be opened, or decoding fails in the `with` block. The message names the file.
    """
    av = require("av", "media")
    remote = is_address(str(source))
    size = 0 if remote else check_file(Path(source))
    name = str(source) if remote else str(Path(source).absolute())
    protocols = "http,https,tcp,tls" if remote else "file"
    opened = False
    options = {"protocol_whitelist": protocols, "format_whitelist": FORMATS, **_pixel_limit(size)}
    try:
        with av.open(name, options=options, metadata_errors="replace") as container:
            opened = True
            yield container
    except av.error.FFmpegError as error:
        reason = error.strerror
        if error.errno == errno.EINVAL:
            reason = _invalid_frames(size) if opened else "unknown container format"
        raise MediaError(
            f"{source}: cannot be decoded ({reason}); it is damaged, truncated or not a media file"
        ) from error
    except OSError as error:
        raise MediaError(f"{source}: cannot be read ({error.strerror or error})") from error


def check_file(path: Path) -> int:
    """Check that `path` is a regular file with at least one byte, and return its size in bytes.

    Raises:
        MediaError: the file is missing, cannot be read, is not a regular file, or is empty.
    """
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise MediaError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise MediaError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(f"{path}: not a regular file")
    if status.st_size == 0:
        raise MediaError(f"{path}: the file is empty (zero bytes); download it again")
    return status.st_size


def check_cost(source: Source, size: int, num_bytes: int, remedy: str) -> None:
    """Check that decoding a file does not take too much memory for the size of the file.

    Args:
        source: the file.
        size: size of the file in bytes; 0 if it is not known.
        num_bytes: memory that the decoded content takes, in bytes.
        remedy: advice for the error message, such as "reduce the number of pixels".

    Raises:
        MediaError: `num_bytes` is too large; see `io.input_files.check_expansion` for the limit.
    """
    try:
        check_memory(str(source), size, num_bytes, remedy)
    except InputError as error:
        raise MediaError(str(error)) from error


def file_size(container: Any) -> int:
    """Return the size of an open file in bytes; 0 if a server does not state it."""
    return max(0, int(container.size))


def is_address(text: str) -> bool:
    """Return whether the text is a URL that starts with http:// or https://."""
    return text.lower().startswith(("http://", "https://"))


def track(container: Any, kind: str, source: Source) -> Any:
    """Return the first stream of the given kind, "video" or "audio". Cover pictures do not count as video.

    The size of a video file limits the number of pixels per frame (see `check_cost`). Decoding a frame above this limit
    fails, even if the file states a smaller frame size.

    Raises:
        MediaError: the container has no stream of this kind, or the frame size that it states is above the limit.
    """
    first = next((stream for stream in container.streams if stream.type == kind and not _is_cover(stream)), None)
    if first is None:
        raise MediaError(f"{source}: no {kind} track")
    if kind == "video" and (decoder := first.codec_context) is not None:
        num_bytes = BYTES_PER_PIXEL * decoder.width * decoder.height
        check_cost(source, file_size(container), num_bytes, "reduce the size of its frames")
        if not decoder.is_open:
            decoder.options = _pixel_limit(file_size(container))  # frames may be larger than stated
    return first


def has_track(container: Any, kind: str) -> bool:
    """Return whether the container has a "video" or an "audio" stream. Cover pictures do not count as video."""
    return any(stream.type == kind and not _is_cover(stream) for stream in container.streams)


def origin(container: Any) -> float:
    """Return the timestamp at the start of the container, in seconds."""
    return (container.start_time or 0) / 1e6


def length(container: Any) -> float | None:
    """Return the duration that the container states, in seconds; None if it states no duration."""
    return None if container.duration is None else container.duration / 1e6


def track_length(container: Any, stream: Any) -> float | None:
    """Return the duration that the file states for this track, in seconds; None if it states no duration."""
    if container.format.name in ESTIMATED:
        return None
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    tag = _TAG.fullmatch(stream.metadata.get("DURATION", ""))
    return None if tag is None else 3600 * int(tag[1]) + 60 * int(tag[2]) + float(tag[3])


def stated_length(container: Any, stream: Any) -> float | None:
    """Return the stated duration of the track, or else of the container, in seconds; None if neither is stated."""
    stated = track_length(container, stream)
    return length(container) if stated is None else stated


def spacing(stream: Any) -> float:
    """Return the mean time between two frames, in seconds; 0 for audio."""
    return 1 / float(stream.average_rate) if stream.type == "video" and stream.average_rate else 0.0


def seek(container: Any, stream: Any, seconds: float) -> None:
    """Seek to a point from which `stream` can be decoded: the last such point at or before the time `seconds`."""
    container.seek(int((seconds + origin(container)) / stream.time_base), stream=stream, backward=True)


def frame_time(container: Any, frame: Any, source: Source) -> float:
    """Return the time at which a frame starts, in seconds from the start of the container.

    Raises:
        MediaError: the frame has no timestamp.
    """
    if frame.time is None:
        raise MediaError(
            f"{source}: the frames have no timestamps; convert the file to a format that has them, such as .mp4 or .mkv"
        )
    return float(frame.time) - origin(container)


def _pixel_limit(size: int) -> dict[str, str]:
    """Return the option of FFmpeg's decoders that limits the pixels per frame, for a file of `size` bytes."""
    return {"max_pixels": str(min(_MOST_PIXELS, most_memory(size) // BYTES_PER_PIXEL))}


def _invalid_frames(size: int) -> str:
    """Return why FFmpeg refused to decode the frames of a file of `size` bytes."""
    most = most_memory(size) // BYTES_PER_PIXEL
    return f"its parameters are invalid, or a frame has more than {most:,} pixels, too many for {size:,} bytes"


def _is_cover(stream: Any) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)
