"""Render one modality of a distilled set: optimise images, videos or sounds whose features match the rows.

The media are written to files, and the features of the files are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from omnidistill.core.errors import InputError
from omnidistill.core.optional import require
from omnidistill.encoding.encoders.encoder import Encoder, Item
from omnidistill.encoding.inversion import Canvas, InversionSettings, Invertible, canvas_of, invert
from omnidistill.report.render_content import NearItem, RenderedMedium


@dataclass(frozen=True, eq=False)
class RenderedModality:
    """The rendered media of one modality, and their preprocessed features (n x p)."""

    media: list[RenderedMedium]
    features: Float[Tensor, "n p"]


def require_canvas(encoder: Encoder, name: str, seconds: float) -> Canvas:
    """Return the canvas of an encoder: the values that rendering optimises, such as the pixels of an image.

    Raises:
        InputError: the encoder has no gradients with respect to its input.
    """
    canvas = canvas_of(encoder, seconds)
    if canvas is None:
        raise InputError(
            f"modality {name!r}: encoder {encoder.name!r} has no gradients with respect to its input, so rows cannot "
            "be rendered with it; leave the modality out, or use features of another encoder"
        )
    return canvas


def render_modality(
    encoder: Encoder,
    name: str,
    targets: Float[Tensor, "n p"],
    starts: Sequence[Item],
    nearest: Sequence[Sequence[NearItem]],
    preprocess: Callable[[Tensor], Tensor],
    folder: Path,
    settings: InversionSettings,
    generator: torch.Generator,
    advance: Callable[[], object],
) -> RenderedModality:
    """Optimise one medium per distilled row, write it to a file in `folder`, and compute the features of the file.

    Args:
        encoder: the encoder of the modality.
        name: name of the modality.
        targets: the distilled rows to render.
        starts: the nearest real item of every row. The optimisation starts from its medium, or from a blank one
            (setting `start`).
        nearest: several nearest real items of every row, for the report.
        preprocess: maps features of the encoder to the space of the rows.
        folder: output folder; files get paths such as media/image/row-0000.png.
        settings: how media are optimised.
        generator: draws the random shifts of the media during the optimisation.
        advance: called after every step of every batch.
    """
    canvas = require_canvas(encoder, name, settings.seconds)
    assert isinstance(encoder, Invertible)
    real = [canvas.read(item) for item in starts]
    start = torch.stack(real if settings.start == "nearest" else [canvas.blank()] * len(real))
    inverted = invert(encoder, canvas, targets, start, preprocess, settings, generator, advance)
    (folder / "media" / name).mkdir(parents=True, exist_ok=True)
    (folder / "pictures" / name).mkdir(parents=True, exist_ok=True)
    features, media = [], []
    for row, values in enumerate(inverted.values):
        file = f"media/{name}/row-{row:04d}{canvas.suffix}"
        canvas.save(values, folder / file)
        pictures = [f"pictures/{name}/row-{row:04d}{part}.png" for part in ("", "-nearest")]
        for picture, shown in zip(pictures, (values, real[row]), strict=True):
            _write_picture(canvas, shown, folder / picture)
        features.append(preprocess(encoder.encode(encoder.prepare(Item(folder / file))[None]).mean(1)))
        media.append(
            RenderedMedium(
                content=file,
                cosine=float(cosine_similarity(features[-1], targets[row][None])),
                optimised=float(inverted.cosines[row]),
                nearest=list(nearest[row]),
                pictures=pictures,
            )
        )
    return RenderedModality(media, torch.cat(features))


def captions(
    texts: Sequence[str],
    targets: Float[Tensor, "n p"],
    features: Float[Tensor, "n p"],
    nearest: Sequence[Sequence[NearItem]],
) -> RenderedModality:
    """Return the given texts as the rendered modality, with the cosine similarity of each text to its row.

    Args:
        texts: one text per row: the caption of the nearest real item, or a text that joins captions of several items.
        targets: the rows of the set to render.
        features: preprocessed features of the texts.
        nearest: several nearest real items of every row, for the report.
    """
    cosines = cosine_similarity(features, targets).tolist()
    media = [
        RenderedMedium(content=text, cosine=cosine, optimised=None, nearest=list(near))
        for text, cosine, near in zip(texts, cosines, nearest, strict=True)
    ]
    return RenderedModality(media, features)


def _write_picture(canvas: Canvas, values: Tensor, path: Path) -> None:
    picture = canvas.picture(values).permute(1, 2, 0).contiguous()
    require("PIL.Image", "media").fromarray(picture.numpy()).save(path)
