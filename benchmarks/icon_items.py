"""Which icons become items of the icons dataset, what is said of them, and in which split they are.

A concept is the set of words of a name, without words of style, such as `filled`, and without numbers: `star`,
`star-filled` and `star-2` are one concept. A concept is used if at least two packs draw it. There is one item per
concept and pack. Concepts that share a drawing, pixel by pixel, are one group, and a group is in one split.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from icon_packs import Icon

STYLES = frozenset(
    ["alt", "fill", "filled", "line", "outline", "outlined", "regular", "round", "rounded", "sharp", "solid", "variant"]
)
LEAST_PACKS = 2
MOST_TAGS = 12
SHARES = (("heads", 0.12), ("train", 0.66), ("validation", 0.06), ("test", 0.16))


@dataclass(frozen=True)
class Item:
    """An icon that represents its concept in its pack.

    Attributes:
        icon: the icon.
        concept: words of the concept, in alphabetical order.
    """

    icon: Icon
    concept: str

    @property
    def id(self) -> str:
        return f"{self.icon.pack}/{self.icon.name}"

    @property
    def spoken(self) -> str:
        """The name as a voice says it: without words of style."""
        return " ".join(word for word in words_of(self.icon.name) if word not in STYLES)

    @property
    def text(self) -> str:
        """The name and up to 12 tags that are not part of it: `name: tag, tag, ...`."""
        known = {*self.spoken.split(), self.spoken}
        tags = [tag for tag in self.icon.tags if tag not in known and not set(tag.split()) <= STYLES]
        return ": ".join(part for part in (self.spoken, ", ".join(tags[:MOST_TAGS])) if part)


def words_of(name: str) -> list[str]:
    """Return the words of a name in lower case; letters and digits are separate words."""
    return re.findall(r"[a-z]+|[0-9]+", name.lower())


def concept_of(name: str) -> str:
    """Return the concept of a name; an empty string if it has only words of style and numbers."""
    return " ".join(sorted({word for word in words_of(name) if word not in STYLES and not word.isdigit()}))


def choose(icons: Iterable[Icon], limit: int | None = None) -> list[Item]:
    """Return one item per concept and pack, for the concepts that at least two packs draw.

    Of several icons of a concept in a pack, the one with the shortest name is used, and the first in alphabetical
    order of these. Concepts are in the order of their hashes, so the result for a limit begins the complete result.

    Args:
        icons: the icons of all packs.
        limit: stop before the concept that exceeds this number of items; None: no limit.
    """
    found: dict[str, dict[str, Icon]] = defaultdict(dict)
    for icon in sorted(icons, key=lambda icon: (len(icon.name), icon.name)):
        if concept := concept_of(icon.name):
            found[concept].setdefault(icon.pack, icon)
    items: list[Item] = []
    for concept in sorted(found, key=lambda concept: _hash("order", concept)):
        packs = found[concept]
        if len(packs) < LEAST_PACKS:
            continue
        if limit is not None and len(items) + len(packs) > limit:
            break
        items += [Item(packs[pack], concept) for pack in sorted(packs)]
    return items


def groups_of(items: Sequence[Item], pixels: Mapping[str, str]) -> list[str]:
    """Return the group of each item: its concept, or the first of all concepts that share drawings with it.

    Args:
        items: the items.
        pixels: {id of an item: a digest of its picture}.
    """
    first: dict[str, str] = {}

    def root(concept: str) -> str:
        while (above := first.setdefault(concept, concept)) != concept:
            concept = above
        return concept

    owner: dict[str, str] = {}
    for item in items:
        one, other = root(item.concept), root(owner.setdefault(pixels[item.id], item.concept))
        first[max(one, other)] = min(one, other)
    return [root(item.concept) for item in items]


def split_of(group: str) -> str:
    """Return the split of a group. It depends on nothing but the name of the group."""
    position = _hash("split", group) / 2**64
    for split, share in SHARES:
        if (position := position - share) < 0:
            return split
    return SHARES[-1][0]


def _hash(purpose: str, text: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{purpose}:{text}".encode()).digest()[:8], "big")
