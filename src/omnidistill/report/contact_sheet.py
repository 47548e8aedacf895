"""A contact sheet: one picture that shows many pairs of a real medium (left) and a rendered medium (right).

There is one pair for each rendered row and each modality that can be shown as a picture: images, middle frames of
videos, and spectrograms of sounds. The left side shows the real medium whose features are nearest to the row. The text
below a pair consists of the number of the row, the modality, and the cosine similarity between the row and the features
of the rendered medium.
"""

from __future__ import annotations

import io
from pathlib import Path

from omnidistill.core.optional import require
from omnidistill.report.render_content import RenderContent

TILE = 112
"""Side of a picture in pixels."""
_GAP, _CAPTION, _PAIRS_ACROSS = 4, 16, 6


def contact_sheet(content: RenderContent, folder: Path) -> bytes | None:
    """Return the contact sheet as the bytes of a PNG file; None if no modality has pictures.

    Args:
        content: the rendered media.
        folder: the folder that contains the pictures.
    """
    images, draws = require("PIL.Image", "media"), require("PIL.ImageDraw", "media")
    pairs = [
        (f"{row.row} {name} {medium.cosine:.2f}", medium.pictures)
        for name in content.encoders
        for row in content.rows
        if (medium := row.media[name]).pictures
    ]
    if not pairs:
        return None
    width, height = 2 * TILE + 4 * _GAP, TILE + _CAPTION + _GAP
    across = min(_PAIRS_ACROSS, len(pairs))
    sheet = images.new("RGB", (across * width, -(-len(pairs) // across) * height), "white")
    draw = draws.Draw(sheet)
    for index, (caption, (rendered, nearest)) in enumerate(pairs):
        left, top = index % across * width, index // across * height
        for offset, name in ((0, nearest), (TILE + _GAP, rendered)):
            with images.open(folder / name) as picture:
                sheet.paste(picture.convert("RGB").resize((TILE, TILE)), (left + offset, top))
        draw.text((left, top + TILE + 2), caption, fill="black")
    data = io.BytesIO()
    sheet.save(data, "PNG")
    return data.getvalue()
