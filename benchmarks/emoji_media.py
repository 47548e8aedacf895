"""The media of the emoji data: drawings, texts and speech of the three styles, as a manifest that `encode` reads.

    npm install @iconify-json/noto@1.2.9 @iconify-json/twemoji@1.2.5 @iconify-json/fluent-emoji@1.2.7
    apt-get install espeak-ng                   the voices, 1.52
    pip install cairosvg                        rendering

The rows have the ids, groups and splits of the bundled data. Drawings are 260 x 260 pixels on white.
"""

from __future__ import annotations

import io
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from icon_media import find_voice, speak
from omnidistill.data.emoji import load_emoji
from omnidistill.encoding.manifests.manifest import Manifest, Row
from omnidistill.encoding.manifests.write_manifest import write_manifest

PIXELS = 260


@dataclass(frozen=True)
class Style:
    """Where a style's drawings are, and its voice.

    Attributes:
        package: folder of the npm package below @iconify-json.
        voice: arguments of espeak-ng.
    """

    package: str
    voice: tuple[str, ...]


STYLES = {
    "noto": Style("noto", ("-v", "en-us+m3", "-s", "175", "-p", "50")),
    "twemoji": Style("twemoji", ("-v", "en-gb+f2", "-s", "160", "-p", "60")),
    "fluent": Style("fluent-emoji", ("-v", "en-gb-scotland+m7", "-s", "150", "-p", "40")),
}


def drawing(icons: dict[str, Any], names: dict[str, str], codepoints: str) -> str | None:
    """Return the SVG of an emoji; None if the package has no drawing for these code points."""
    keys = [codepoints, codepoints.replace("-fe0f", "")]
    keys += [re.sub(r"(^|-)0+", r"\1", key) for key in keys]
    name = next((names[key] for key in keys if key in names), None)
    return None if name is None else _svg(icons, name)


def svg_of(style: str, icons: dict[str, Any], names: dict[str, str], codepoints: str, name: str) -> str | None:
    """Return the SVG of an emoji, or None if the package has none. Fluent drawings are found by the emoji's name."""
    if style != "fluent":
        return drawing(icons, names, codepoints)
    plain = unicodedata.normalize("NFKD", re.sub("[’']", "", name.lower())).encode("ascii", "ignore").decode()
    key = "keycap-asterisk" if name == "keycap: *" else re.sub("[^a-z0-9]+", "-", plain).strip("-")
    key = icons.get("aliases", {}).get(key, {}).get("parent", key)
    return _svg(icons, key) if key in icons["icons"] else None


def picture_of(svg: str, pixels: int = PIXELS) -> Image.Image:
    """Return a drawing on white as a picture of `pixels` x `pixels`."""
    import cairosvg

    png = cairosvg.svg2png(bytestring=svg.encode(), output_width=pixels, output_height=pixels)
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    white.alpha_composite(picture)
    return white.convert("RGB")


def read_package(package: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the drawings of an npm package, and the names of the drawings by code points."""
    icons, names = (json.loads((package / file).read_text("utf-8")) for file in ("icons.json", "chars.json"))
    return icons, names


def emoji_manifest(packages: Path, folder: Path, styles: Sequence[str], count: int) -> Manifest:
    """Make the media in `folder`, unless they exist, and write `folder`/items.csv.

    Args:
        packages: the folder node_modules/@iconify-json.
        folder: folder of the media.
        styles: keys of `STYLES`.
        count: number of emoji per style, spread over the set.
    """
    program, rows = find_voice(), []
    for style in styles:
        (folder / style).mkdir(parents=True, exist_ok=True)
        emoji = load_emoji((style,))
        icons, names = read_package(packages / STYLES[style].package)
        drawn = [
            (row, svg)
            for row, (key, name) in enumerate(zip(emoji.groups, emoji.captions["audio"], strict=True))
            if (svg := svg_of(style, icons, names, key, name)) is not None
        ]
        for row, svg in drawn[:: max(1, len(drawn) // count)][:count]:
            image = f"{style}/{emoji.groups[row]}.png"
            if not (folder / image).is_file():
                picture_of(svg).save(folder / image)
            sound, _ = speak(emoji.captions["audio"][row], STYLES[style].voice, folder / style, program)
            media = {"image": image, "text": emoji.captions["text"][row], "audio": f"{style}/{sound}"}
            rows.append(Row(emoji.ids[row], emoji.groups[row], emoji.splits[row], media))
    manifest = Manifest(tuple(rows), {"image": "image", "text": "text", "audio": "audio"}, folder)
    write_manifest(manifest, folder / "items.csv", force=True)
    return manifest


def _svg(icons: dict[str, Any], name: str) -> str:
    icon = icons["icons"][icons["aliases"].get(name, {}).get("parent", name)]
    width, height = (icon.get(side, icons[side]) for side in ("width", "height"))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
    )
