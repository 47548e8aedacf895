"""What encoders take of an item: its picture, frames, sound; `media` decodes them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.encoder import Item, Kind
from omnidistill.encoding.media.container import MediaError, opened, track
from omnidistill.encoding.media.picture import read_picture
from omnidistill.encoding.media.sound import read_sound
from omnidistill.encoding.media.video import read_frames, video_duration


def picture_of(item: Item) -> UInt8[Tensor, "3 height width"]:
    """The picture, RGB, upright, what is transparent on white. Raises InputError for an address."""
    if isinstance(item.source, str):
        raise InputError(f"{item.source}: pictures are read from files, not from addresses")
    return read_picture(item.source)


def seconds_of(item: Item) -> tuple[float, float]:
    """When the clip of a video begins and ends, at the latest with the video. Raises InputError if that is nothing."""
    begin, end = item.start or 0.0, video_duration(item.source)
    if item.end is not None:
        end = min(end, item.end)
    if end <= begin:
        raise InputError(f"{item.source}: nothing between {begin} and {end} s; the end must be after the start")
    return begin, end


def frame_rate_of(item: Item) -> float:
    """Frames a second, their mean. Raises MediaError if the file does not say."""
    with opened(item.source) as container:
        rate = track(container, "video", item.source).average_rate
    if not rate:
        raise MediaError(f"{item.source}: does not say its frame rate; put it in a container that does, such as .mp4")
    return float(rate)


def frames_at(item: Item, times: Sequence[float]) -> UInt8[Tensor, "n 3 height width"]:
    """The frames shown at these seconds from the start of the file."""
    return read_frames(item.source, times)


def frames_of(item: Item, count: int) -> UInt8[Tensor, "{count} 3 height width"]:
    """`count` frames: those in the middle of `count` equal stretches of the clip."""
    begin, end = seconds_of(item)
    return frames_at(item, [begin + (end - begin) * (k + 0.5) / count for k in range(count)])


def sound_of(
    item: Item, rate: int, longest: float | None = None, channel: int | None = None
) -> Float[Tensor, " samples"]:
    """The clip's sound at `rate` samples a second: one channel, or their mean.

    longest: seconds; of a clip that is longer, only its middle.
    """
    channels = read_sound(item.source, rate, item.start or 0.0, item.end)
    sound = channels.mean(0) if channel is None else channels[channel]
    if longest is None or len(sound) <= (kept := round(longest * rate)):
        return sound
    return torch.narrow(sound, 0, (len(sound) - kept) // 2, kept)


def decoders(kind: Kind) -> dict[str, str]:
    """The packages that decode items of a kind, and their versions: part of a fingerprint."""
    packages = {"image": ("pillow",), "video": ("av",), "audio": ("av", "soxr")}.get(kind, ())
    return {package: version(package) for package in packages}
