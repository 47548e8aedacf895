"""Captions, pictures and sounds of real items, from the bundled emoji or from the files in a manifest.

Items from other sources have only their ids as captions. Media are small: a thumbnail of a picture or of one video
frame, and a few seconds of sound at a low sampling rate. They are created on demand, which requires the optional
dependencies `omnidistill[media]`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from omnidistill.core.optional import require
from omnidistill.data.emoji import emoji_picture, load_emoji
from omnidistill.encoding.manifests.manifest import Manifest, Row
from omnidistill.encoding.media.picture import read_picture
from omnidistill.encoding.media.sound import read_sound
from omnidistill.encoding.media.video import read_frames, video_duration

THUMBNAIL_PIXELS = 112
"""Length of a thumbnail's longer side."""
SOUND_SECONDS = 4.0
SOUND_RATE = 16_000
_SOUND_BITS = 24_000  # per second


@dataclass(frozen=True)
class Medium:
    """A small picture or sound: the MIME type and the content of the file."""

    type: str
    data: bytes


MediumFactory = Callable[[], Medium]
"""Function that creates a medium on demand."""


@runtime_checkable
class Items(Protocol):
    """Captions and media of real items, by id.

    The functions returned by `picture` and `sound` raise InputError if a file cannot be used, or if the optional
    dependencies `omnidistill[media]` are not installed.
    """

    def caption(self, name: str, modality: str) -> str:
        """Return a text that describes the item in this modality."""
        ...

    def picture(self, name: str) -> MediumFactory | None:
        """Return a function that creates a picture of the item, or None if the item has no picture."""
        ...

    def sound(self, name: str, modality: str) -> MediumFactory | None:
        """Return a function that creates the item's sound in this modality, or None if the item has no sound."""
        ...


class NamedItems:
    """Items without captions and media. The id serves as the caption."""

    def caption(self, name: str, modality: str) -> str:
        """Return the id."""
        return name

    def picture(self, name: str) -> MediumFactory | None:
        """Return None, because there are no pictures."""
        return None

    def sound(self, name: str, modality: str) -> MediumFactory | None:
        """Return None, because there are no sounds."""
        return None


class EmojiItems:
    """Items of the bundled emoji dataset, with Noto drawings as pictures and without sounds."""

    def caption(self, name: str, modality: str) -> str:
        """Return the caption of an emoji.

        For audio, it is the spoken name of the emoji; for text, the encoded text. For an image, it is the spoken name
        with the drawing style, such as "noto", in brackets.
        """
        texts = self._captions
        if modality != "image":
            return texts[modality][name]
        return f"{texts['audio'][name]} ({name.partition('/')[0]})"

    def picture(self, name: str) -> MediumFactory | None:
        """Return a function that creates the Noto drawing of the emoji, or None if there is no drawing."""
        data = emoji_picture(name.partition("/")[2])
        return None if data is None else lambda: Medium("image/png", data)

    def sound(self, name: str, modality: str) -> MediumFactory | None:
        """Return None, because there are no sounds."""
        return None

    @cached_property
    def _captions(self) -> Mapping[str, Mapping[str, str]]:
        raw = load_emoji()
        return {modality: dict(zip(raw.ids, texts, strict=True)) for modality, texts in raw.captions.items()}


class ManifestItems:
    """Items from a manifest, with media from its local files. URLs are never opened."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.rows: dict[str, Row] = {row.id: row for row in manifest.rows}

    def caption(self, name: str, modality: str) -> str:
        """Return the item's text in this modality, or else its first text in any modality, or else its id."""
        media = self.rows[name].media if name in self.rows else {}
        return next((media[m] for m in (modality, *media) if m in media and self.manifest.kinds[m] == "text"), name)

    def picture(self, name: str) -> MediumFactory | None:
        """Return a function that creates the first picture of the item.

        If the item has no picture, the function creates the middle frame of its first video. Return None if the item
        has no video either.
        """
        pictures, videos = self._files(name, "image"), self._files(name, "video")
        if pictures:
            return lambda: thumbnail(read_picture(pictures[0][1]))
        return (lambda: _poster(*videos[0])) if videos else None

    def sound(self, name: str, modality: str) -> MediumFactory | None:
        """Return a function that creates the first seconds of the item's sound in this modality."""
        sounds = self._files(name, "audio", modality)
        return (lambda: _beginning(*sounds[0])) if sounds else None

    def _files(self, name: str, kind: str, only: str | None = None) -> list[tuple[Row, Path]]:
        """Return (row, path) for each local file of this kind. `only` restricts the files to one modality."""
        row = self.rows.get(name)
        if row is None:
            return []
        chosen = [m for m in row.media if self.manifest.kinds[m] == kind and only in (None, m)]
        contents = [self.manifest.content(row, m) for m in chosen]
        return [(row, content) for content in contents if isinstance(content, Path)]


def _poster(row: Row, path: Path) -> Medium:
    end = video_duration(path) if row.end is None else row.end
    return thumbnail(read_frames(path, [((row.start or 0.0) + end) / 2])[0])


def _beginning(row: Row, path: Path) -> Medium:
    start = row.start or 0.0
    end = start + SOUND_SECONDS
    return short_sound(read_sound(path, SOUND_RATE, start, end if row.end is None else min(end, row.end)))


def thumbnail(picture: UInt8[Tensor, "3 height width"]) -> Medium:
    """Convert an RGB picture with values in 0-255 to WebP, with at most `THUMBNAIL_PIXELS` pixels per side."""
    image = require("PIL.Image", "media").fromarray(picture.permute(1, 2, 0).numpy())
    image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    data = io.BytesIO()
    image.save(data, "WEBP", quality=72, method=4)
    return Medium("image/webp", data.getvalue())


def short_sound(sound: Float[Tensor, "channels samples"]) -> Medium:
    """Convert a sound with the sampling rate `SOUND_RATE` to a mono MP3, by averaging the channels."""
    av = require("av", "media")
    samples = sound.mean(0, keepdim=True).clamp(-1, 1).numpy().astype(np.float32)
    data = io.BytesIO()
    with av.open(data, "w", format="mp3") as container:
        stream: Any = container.add_stream("libmp3lame", rate=SOUND_RATE, layout="mono")
        stream.bit_rate = _SOUND_BITS
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
        frame.sample_rate, frame.pts = SOUND_RATE, 0
        for packet in (frame, None):
            container.mux(stream.encode(packet))
    return Medium("audio/mpeg", data.getvalue())
