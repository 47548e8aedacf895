"""Data for the script of the page: captions and media of real items, and descriptions of the synthetic rows.

The description of a synthetic row is called an instance, and refers to real items by number. The script builds the HTML
elements for a few instances at a time. It inserts captions as text, never as markup.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from omnidistill.report.instances import Instance
from omnidistill.report.items import Items
from omnidistill.report.media_embedding import EmbeddedMedia

MAX_CAPTION = 90
"""Maximum number of characters in a caption."""
_SOUND_SHARE = 0.4  # maximum share of the bytes that sounds may use; pictures may use the rest


@dataclass
class ShownItems:
    """The real items shown on a page, numbered in the order of first use. `embed` returns their media."""

    texts: list[str] = field(default_factory=list)
    _numbers: dict[tuple[int, str, str], int] = field(default_factory=dict)
    _sources: list[tuple[Items, int, str, str]] = field(default_factory=list)
    _with_media: dict[int, None] = field(default_factory=dict)

    def number(self, items: Items, name: str, modality: str, with_media: bool = True) -> int:
        """Return the index under which the page shows an item in one modality. A new item gets the next free index.

        `embed` includes the media of an item if `with_media` was True in at least one call for this item.
        """
        key = (id(items), name, modality)
        if key not in self._numbers:
            self._numbers[key] = len(self.texts)
            self.texts.append(tidy(items.caption(name, modality)))
            self._sources.append((items, id(items), name, modality))
        number = self._numbers[key]
        if with_media:
            self._with_media.setdefault(number)
        return number

    def embed(self, budget: int) -> Media:
        """Return pictures and sounds of the items in the order of first use, as many as fit into `budget` bytes."""
        sounds = EmbeddedMedia(int(_SOUND_SHARE * budget))
        sound_of = {number: self._sound(sounds, number) for number in self._with_media}
        pictures = EmbeddedMedia(budget - sounds.num_bytes)
        picture_of = {number: self._picture(pictures, number) for number in self._with_media}
        return Media(pictures, sounds, picture_of, sound_of)

    def _picture(self, media: EmbeddedMedia, number: int) -> int | None:
        items, owner, name, _ = self._sources[number]
        return media.number((owner, name), items.picture(name))

    def _sound(self, media: EmbeddedMedia, number: int) -> int | None:
        items, owner, name, modality = self._sources[number]
        return media.number((owner, name, modality), items.sound(name, modality))


@dataclass(frozen=True)
class Media:
    """Embedded pictures and sounds, and for each item the indices of its picture and its sound (None if absent)."""

    pictures: EmbeddedMedia
    sounds: EmbeddedMedia
    picture_of: dict[int, int | None]
    sound_of: dict[int, int | None]

    def note(self) -> str:
        """Return a sentence about missing media; an empty string if no media are missing."""
        parts = [
            f"{media.left_out:,} {name} did not fit into the page"
            for name, media in (("pictures", self.pictures), ("sounds", self.sounds))
            if media.left_out
        ]
        unreadable = [*self.pictures.unreadable, *self.sounds.unreadable]
        if unreadable:
            parts.append(f"{len(unreadable):,} files could not be used, such as: {unreadable[0]}")
        return "; ".join(parts) + ("." if parts else "")


def instance_numbers(instances: Sequence[Instance], items: Items, shown: ShownItems) -> list[list[Any]]:
    """Return [number, initial item, agrees, traces] for each instance (the description of a synthetic row).

    Real items are given by their numbers on the page.

    number          number of the synthetic row
    initial item    the real item that initialised the synthetic row; -1 if unknown
    agrees          1 if the nearest items of all modalities belong to the same group; 0 otherwise, and also if there is
                    only one modality
    traces          one list per modality: [modality, move, item, cosine, item, cosine, ...]
    move            [cosine similarity, relative distance] between the synthetic row and the real row that initialised
                    it (see `Move`); None if unknown
    item, cosine    one of the real items nearest to the synthetic row, and the cosine similarity of the two
    """
    return [
        [
            instance.index,
            -1 if instance.start is None else shown.number(items, instance.start, next(iter(instance.traces))),
            int(instance.agrees),
            [
                [
                    modality,
                    None if trace.move is None else [round(trace.move.cosine, 3), round(trace.move.distance, 2)],
                    *(
                        part
                        for place, near in enumerate(trace.nearest)
                        for part in (shown.number(items, near.id, modality, place == 0), round(near.cosine, 3))
                    ),
                ]
                for modality, trace in instance.traces.items()
            ],
        ]
        for instance in instances
    ]


def as_script_data(content: Any) -> Markup:
    """Return the content as JSON that is safe inside a script element: it cannot end the element or start a comment."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def tidy(text: str) -> str:
    """Return a caption as one short line, without control characters or characters that change the text direction."""
    clean = "".join(
        c
        for c in re.sub(r"\s+", " ", text)
        if unicodedata.category(c) not in ("Cc", "Cs") and c not in _DIRECTION_CHANGES
    )
    clean = clean.strip()
    return clean if len(clean) <= MAX_CAPTION else f"{clean[: MAX_CAPTION - 1].rstrip()}…"


_DIRECTION_CHANGES = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
