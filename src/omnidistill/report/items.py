"""What there is to see, hear and read of a real item: an id alone, the bundled emoji, or the files of a manifest.

Media are small: pictures and posters of videos as thumbnails, sounds as a few seconds at a low rate. They are made when
they are asked for, and by the extra "media".
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
"""The longer side of a picture."""
SOUND_SECONDS = 4.0
SOUND_RATE = 16_000
_SOUND_BITS = 24_000  # a second


@dataclass(frozen=True)
class Medium:
    """A small file, and its type as the web names it."""

    type: str
    data: bytes


Make = Callable[[], Medium]
"""Makes a medium when it is wanted."""


@runtime_checkable
class Items(Protocol):
    """What is known of real items, by their id. `picture` and `sound` are None where there is nothing; what they give
    raises InputError, when it is called, for a file that cannot be used or where the extra "media" is missing.
    """

    def caption(self, name: str, modality: str) -> str:
        """A text that says what the item is in this modality."""
        ...

    def picture(self, name: str) -> Make | None:
        """How the item looks, whatever the modality."""
        ...

    def sound(self, name: str, modality: str) -> Make | None:
        """How the item sounds in this modality."""
        ...


class NamedItems:
    """Items of which nothing but the id is known."""

    def caption(self, name: str, modality: str) -> str:
        """The id."""
        return name

    def picture(self, name: str) -> Make | None:
        """None."""
        return None

    def sound(self, name: str, modality: str) -> Make | None:
        """None."""
        return None


class EmojiItems:
    """The bundled emoji: texts as they were encoded, the drawings of Noto; no sound is shipped."""

    def caption(self, name: str, modality: str) -> str:
        """What was read or said; for a drawing its style."""
        texts = self._captions
        if modality != "image":
            return texts[modality][name]
        return f"{texts['audio'][name]} ({name.partition('/')[0]})"

    def picture(self, name: str) -> Make | None:
        """The drawing of the emoji by Noto."""
        data = emoji_picture(name.partition("/")[2])
        return None if data is None else lambda: Medium("image/png", data)

    def sound(self, name: str, modality: str) -> Make | None:
        """None."""
        return None

    @cached_property
    def _captions(self) -> Mapping[str, Mapping[str, str]]:
        raw = load_emoji()
        return {modality: dict(zip(raw.ids, texts, strict=True)) for modality, texts in raw.captions.items()}


class ManifestItems:
    """Items of a manifest; what it does not have of one is left out. Addresses are never followed."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.rows: dict[str, Row] = {row.id: row for row in manifest.rows}

    def caption(self, name: str, modality: str) -> str:
        """The text of this modality, else the first text, else the id."""
        media = self.rows[name].media if name in self.rows else {}
        return next((media[m] for m in (modality, *media) if m in media and self.manifest.kinds[m] == "text"), name)

    def picture(self, name: str) -> Make | None:
        """Its first picture, or the middle frame of its first video."""
        pictures, videos = self._files(name, "image"), self._files(name, "video")
        if pictures:
            return lambda: thumbnail(read_picture(pictures[0][1]))
        return (lambda: _poster(*videos[0])) if videos else None

    def sound(self, name: str, modality: str) -> Make | None:
        """The first seconds of a sound."""
        sounds = self._files(name, "audio", modality)
        return (lambda: _beginning(*sounds[0])) if sounds else None

    def _files(self, name: str, kind: str, only: str | None = None) -> list[tuple[Row, Path]]:
        """The files of a kind that an item has."""
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
    """A picture (RGB in 0-255) within `THUMBNAIL_PIXELS` squared, as WebP."""
    image = require("PIL.Image", "media").fromarray(picture.permute(1, 2, 0).numpy())
    image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    data = io.BytesIO()
    image.save(data, "WEBP", quality=72, method=4)
    return Medium("image/webp", data.getvalue())


def short_sound(sound: Float[Tensor, "channels samples"]) -> Medium:
    """A sound at `SOUND_RATE`, its channels averaged, as MP3."""
    av = require("av", "media")
    samples = sound.mean(0, keepdim=True).clamp(-1, 1).numpy().astype(np.float32)
    data = io.BytesIO()
    with av.open(data, "w", format="mp3") as container:
        stream: Any = container.add_stream("libmp3lame", rate=SOUND_RATE, layout="mono")
        stream.bit_rate = _SOUND_BITS
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
        frame.sample_rate, frame.pts = SOUND_RATE, 0
        for given in (frame, None):
            container.mux(stream.encode(given))
    return Medium("audio/mpeg", data.getvalue())
