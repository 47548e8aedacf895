"""Where each icon package of the icons dataset keeps its drawings, names and tags.

Every function takes the folder of an installed package, and yields (name, drawing, tags). A file or a field that is
missing raises OSError, KeyError or ValueError, TypeError or AttributeError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Found = Iterator[tuple[str, Path, Sequence[str]]]
"""Names, drawings and tags."""


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def tabler(folder: Path) -> Found:
    for name, icon in _json(folder / "icons.json").items():
        if icon["category"] != "Brand" and "outline" in icon["styles"]:
            yield name, folder / "icons" / "outline" / f"{name}.svg", [str(tag) for tag in icon["tags"]]


def phosphor(folder: Path) -> Found:
    entry = re.compile(r'\bname: "([^"]+)",\s+pascal_name.*?categories: \[([^]]*)].*?tags: \[([^]]*)]', re.DOTALL)
    for name, categories, tags in entry.findall((folder / "dist" / "index.mjs").read_text("utf-8")):
        if "BRAND" not in categories:
            yield name, folder / "assets" / "regular" / f"{name}.svg", re.findall(r'"([^"]+)"', tags)


def mdi(folder: Path) -> Found:
    for icon in _json(folder / "meta.json"):
        if not icon["deprecated"] and "Brand / Logo" not in icon["tags"]:
            yield icon["name"], folder / "svg" / f"{icon['name']}.svg", [*icon["aliases"], *icon["tags"]]


def lucide(folder: Path) -> Found:
    for name, tags in _json(folder / "tags.json").items():
        if (drawing := folder / "icons" / f"{name}.svg").is_file():
            yield name, drawing, tags


def fontawesome(folder: Path) -> Found:
    for name, icon in _json(folder / "metadata" / "icon-families.json").items():
        if (drawing := folder / "svgs" / "solid" / f"{name}.svg").is_file():
            yield name, drawing, [str(term) for term in icon["search"]["terms"]]


def ionicons(folder: Path) -> Found:
    for icon in _json(folder / "dist" / "ionicons.json")["icons"]:
        if not icon["name"].startswith("logo-"):
            yield icon["name"], folder / "dist" / "svg" / f"{icon['name']}.svg", icon["tags"]


def carbon(folder: Path) -> Found:
    for icon in _json(folder / "metadata.json")["icons"]:
        drawing = folder / "svg" / "32" / f"{icon['name']}.svg"
        if not icon.get("deprecated") and drawing.is_file():
            yield icon["name"], drawing, [tag for tag in icon["aliases"] if "watson" not in tag.lower()]


def fluent(folder: Path) -> Found:
    for drawing in (folder / "icons").glob("*_24_regular.svg"):
        yield drawing.name.removesuffix("_24_regular.svg"), drawing, ()


def bootstrap(folder: Path) -> Found:
    for drawing in (folder / "icons").glob("*.svg"):
        yield drawing.stem, drawing, ()


def iconoir(folder: Path) -> Found:
    for drawing in (folder / "icons" / "regular").glob("*.svg"):
        yield drawing.stem, drawing, ()
