"""A self-contained HTML page with media rendered from a distilled set, next to the nearest real items.

Pictures and sounds are embedded. Texts from the data are escaped, and a content security policy allows only the page's
own style and script, and embedded media.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omnidistill.encoding.manifests.manifest import Manifest
from omnidistill.encoding.media.picture import read_picture
from omnidistill.encoding.media.sound import read_sound
from omnidistill.report.items import SOUND_RATE, SOUND_SECONDS, ManifestItems, Medium, short_sound, thumbnail
from omnidistill.report.page import render_template
from omnidistill.report.render_content import NearItem, RenderContent, RenderedMedium, render_table

MAX_ROWS = 100
"""Largest number of rows on the page. Their media are embedded in it."""


@dataclass(frozen=True)
class _Cell:
    """One rendered medium on the page, next to the nearest real medium.

    Attributes:
        modality: modality of the medium.
        cosine: cosine similarity between the features of the rendered medium and the row, as text.
        pictures: data URIs of the pictures: rendered, then nearest real; empty if there are none.
        sounds: data URIs of the sounds: rendered, then nearest real; empty if there are none.
        caption: the rendered text; empty for other media.
        nearest: (caption, cosine similarity) of each of the nearest real items.
    """

    modality: str
    cosine: str
    pictures: list[str]
    sounds: list[str]
    caption: str
    nearest: Sequence[tuple[str, str]]


def render_media_page(content: RenderContent, folder: Path, items: Manifest) -> str:
    """Return an HTML page with rendered media.

    Args:
        content: the rendered media.
        folder: the folder that contains the media.
        items: manifest of the real items.
    """
    real = ManifestItems(items)
    rows = [
        (row.row, [_cell(name, content.kinds[name], medium, folder, real) for name, medium in row.media.items()])
        for row in content.rows[:MAX_ROWS]
    ]
    header, *body = [line.strip("| ").split(" | ") for line in render_table(content).splitlines() if line[:1] == "|"]
    return render_template(
        "render.html.jinja",
        content=content,
        columns=header,
        table=body[1:],
        rows=rows,
        left_out=len(content.rows) - len(rows),
        styles=("render.css",),
    )


def _cell(name: str, kind: str, medium: RenderedMedium, folder: Path, real: ManifestItems) -> _Cell:
    sounds = []
    if kind == "audio":
        sounds.append(_uri(short_sound(read_sound(folder / medium.content, SOUND_RATE, 0.0, SOUND_SECONDS))))
        if (nearest := real.sound(medium.nearest[0].id, name)) is not None:
            sounds.append(_uri(nearest()))
    return _Cell(
        modality=name,
        cosine=f"{medium.cosine:.3f}",
        pictures=[_uri(thumbnail(read_picture(folder / path))) for path in medium.pictures],
        sounds=sounds,
        caption=medium.content if kind == "text" else "",
        nearest=[(real.caption(each.id, name), _cosine(each)) for each in medium.nearest],
    )


def _cosine(item: NearItem) -> str:
    return f"{item.cosine:.3f}"


def _uri(medium: Medium) -> str:
    return f"data:{medium.type};base64,{base64.b64encode(medium.data).decode('ascii')}"
