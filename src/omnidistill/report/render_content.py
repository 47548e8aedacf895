"""The content of render.json: media rendered from the rows of a set, and how similar their features are to the rows."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from omnidistill.encoding.encoders.encoder import Kind
from omnidistill.io.artifacts import JsonContent


class NearItem(JsonContent):
    """A real training item near a row: its id, and the cosine similarity between its features and the row."""

    id: str
    cosine: float


class RenderedMedium(JsonContent):
    """A picture, video, sound or caption that shows one synthetic row in one modality.

    Attributes:
        content: path of the file relative to the output folder; for text, the caption itself.
        cosine: cosine similarity between the row and the features that the encoder computes from the file.
        optimised: cosine similarity of the optimised medium before it was written to the file; None for text.
        nearest: the real items nearest to the row, at most one per group.
        pictures: paths of two pictures, one of this medium and one of the nearest real item; empty for text.
    """

    content: str
    cosine: float
    optimised: float | None
    nearest: Sequence[NearItem]
    pictures: Sequence[str] = ()


class RenderedRow(JsonContent):
    """The media of one row, by modality."""

    row: int
    media: Mapping[str, RenderedMedium]


class RenderContent(JsonContent):
    """The rendered media of a set.

    Attributes:
        run: name of the run.
        data: name of the data.
        size: number of rows of the set; not all of them need to be rendered.
        encoders: name of the encoder of each rendered modality.
        kinds: kind of media of each rendered modality.
        rows: the rendered rows.
        settings: the settings of the optimisation.
        seconds: time for each modality, without loading the encoder.
        notes: sentences about items and modalities that were left out.
        versions: versions of the packages that were used.
        command: the command line.
    """

    remedy: ClassVar[str] = "render the run again"
    layout_version: ClassVar[int | None] = 1

    run: str
    data: str
    size: int
    encoders: Mapping[str, str]
    kinds: Mapping[str, Kind]
    rows: Sequence[RenderedRow]
    settings: Mapping[str, Any]
    seconds: Mapping[str, float]
    notes: Sequence[str] = ()
    versions: Mapping[str, str] = {}
    command: str = ""


_COLUMNS = ("modality", "encoder", "rows", "nearest item", "optimised", "from the file", "lowest", "seconds")


def render_table(content: RenderContent) -> str:
    """Return a Markdown table with the median cosine similarities between media and rows, for every modality."""
    lines = [_COLUMNS, ("---", "---", *("---:",) * (len(_COLUMNS) - 2))]
    for name, encoder in content.encoders.items():
        media = [row.media[name] for row in content.rows]
        optimised = [medium.optimised for medium in media if medium.optimised is not None]
        lines.append(
            (
                name,
                encoder,
                str(len(media)),
                _median([medium.nearest[0].cosine for medium in media]),
                _median(optimised) if optimised else "",
                _median([medium.cosine for medium in media]),
                f"{min(medium.cosine for medium in media):.3f}",
                f"{content.seconds[name]:.0f}",
            )
        )
    table = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join(["Cosine similarity to the rows of the set (medians)", "", *table])


def _median(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3f}"
