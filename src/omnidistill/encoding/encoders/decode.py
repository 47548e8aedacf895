"""Read the picture, frames or sound of an item as tensors, decoded by the package `encoding.media`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.encoder import Item, Kind
from omnidistill.encoding.media.container import MediaError, length, open_container, track
from omnidistill.encoding.media.picture import read_picture
from omnidistill.encoding.media.sound import read_sound
from omnidistill.encoding.media.video import read_frames, video_duration


def picture_of(item: Item) -> UInt8[Tensor, "3 height width"]:
    """Return the picture of an item as RGB, rotated upright. Transparent parts are placed on a white background.

    Raises:
        InputError: the item is a URL.
    """
    if isinstance(item.source, str):
        raise InputError(f"{item.source}: images are read from files, not from URLs; download the image first")
    return read_picture(item.source)


def seconds_of(item: Item) -> tuple[float, float]:
    """Return the start and end of the clip in seconds; the end is never past the end of the video.

    Raises:
        InputError: the clip is empty.
    """
    begin, end = item.start or 0.0, video_duration(item.source)
    if item.end is not None:
        end = min(end, item.end)
    if end <= begin:
        raise InputError(
            f"{item.source}: the clip starts at {begin} s, but the clip or the video ends at {end} s; choose an "
            "earlier start or a later end"
        )
    return begin, end


def frame_rate_of(item: Item) -> float:
    """Return the mean number of frames per second.

    Raises:
        MediaError: the file does not contain its frame rate.
    """
    with open_container(item.source) as container:
        rate = track(container, "video", item.source).average_rate
    if not rate:
        raise MediaError(f"{item.source}: has no frame rate; convert it to a container that stores one, such as .mp4")
    return float(rate)


def frames_at(item: Item, times: Sequence[float]) -> UInt8[Tensor, "n 3 height width"]:
    """Return the frame that is shown at each of these times, in seconds from the start of the file."""
    return read_frames(item.source, times)


def frames_of(item: Item, count: int) -> UInt8[Tensor, "{count} 3 height width"]:
    """Divide the clip into `count` equal parts, and return the frame in the middle of each part."""
    begin, end = seconds_of(item)
    return frames_at(item, [begin + (end - begin) * (k + 0.5) / count for k in range(count)])


def sound_of(
    item: Item, rate: int, max_seconds: float | None = None, channel: int | None = None
) -> Float[Tensor, " samples"]:
    """Return the sound of the clip.

    Args:
        item: a file with sound.
        rate: samples per second.
        max_seconds: maximum length of the result; if the clip is longer, its middle part is returned.
        channel: index of the channel; None averages the channels.

    Raises:
        MediaError: the sound cannot be decoded, or lasts less than half of the clip.
    """
    start = item.start or 0.0
    channels = read_sound(item.source, rate, start, item.end)
    end, seconds = item.end or _length_of(item), channels.shape[1] / rate
    if end is not None and seconds < (end - start) / 2:
        raise MediaError(
            f"{item.source}: only {seconds:.2f} s of the clip from {start:.2f} to {end:.2f} s have sound; correct the "
            "times, or remove the item"
        )
    sound = channels.mean(0) if channel is None else channels[channel]
    if max_seconds is None or len(sound) <= (most := round(max_seconds * rate)):
        return sound
    return torch.narrow(sound, 0, (len(sound) - most) // 2, most)


def _length_of(item: Item) -> float | None:
    """Return the duration that the file states, in seconds; None if it states no duration."""
    with open_container(item.source) as container:
        return length(container)


def decoders(kind: Kind) -> dict[str, str]:
    """Return {package: version} of the packages that decode this kind of item. Encoder fingerprints include them."""
    packages = {"image": ("pillow",), "video": ("av",), "audio": ("av", "soxr")}.get(kind, ())
    return {package: version(package) for package in packages}
