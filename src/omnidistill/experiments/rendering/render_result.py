"""The result of `render`, and the files in which it is stored.

FOLDER/items.csv       manifest of the rendered media, from which any encoder can encode them
FOLDER/media/          the media: MODALITY/row-0000.png, .mkv or .wav
FOLDER/pictures/       a picture of every rendered medium, and of the nearest real medium
FOLDER/features/       the features of the rendered media as a packed dataset, if two or more modalities were rendered
FOLDER/sheet.png       rendered media next to the nearest real media
FOLDER/render.html     a page with all rendered media
FOLDER/render.json     cosine similarities, nearest items and settings; written last
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.data.store import load_features, save_features
from omnidistill.distillation import DistilledSet
from omnidistill.encoding.manifests.manifest import Manifest, Row, read_manifest
from omnidistill.encoding.manifests.write_manifest import write_manifest
from omnidistill.io.artifacts import write_atomic
from omnidistill.report.contact_sheet import contact_sheet
from omnidistill.report.render_content import RenderContent, render_table
from omnidistill.report.render_page import render_media_page

NAME = "render"


@dataclass(frozen=True, repr=False)
class Rendered:
    """The result of `render`: the rendered media of a distilled set.

    Attributes:
        content: cosine similarities, nearest items and settings; the content of render.json.
        folder: the folder with the files.
    """

    content: RenderContent
    folder: Path

    @property
    def manifest(self) -> Manifest:
        """The manifest of the rendered media, from which `encode` can compute features with any encoder."""
        return read_manifest(self.folder / "items.csv")

    def features(self) -> FeatureSet:
        """Return the features of the rendered media as a dataset with one training row per rendered row.

        They are preprocessed like the data of the run.

        Raises:
            InputError: fewer than two modalities were rendered.
        """
        return load_features(self.folder / "features")

    def table(self) -> str:
        """Return a Markdown table with the cosine similarities between media and rows, for every modality."""
        return render_table(self.content)

    def to_json(self) -> dict[str, Any]:
        """Return the content of render.json."""
        return self.content.to_json()

    @staticmethod
    def load(folder: str | Path) -> Rendered:
        """Read the result of an earlier call of `render` from its folder.

        Raises:
            InputError: the folder contains no render.json, or the file is damaged.
        """
        path = Path(folder) / f"{NAME}.json"
        return Rendered(RenderContent.from_file(path), Path(folder))

    def __repr__(self) -> str:
        return f"Rendered({self.folder}: {len(self.content.rows)} rows of {', '.join(self.content.encoders)})"


def save_rendered(
    content: RenderContent,
    features: Mapping[str, Float[Tensor, "n p"]],
    distilled: DistilledSet,
    items: Manifest,
    folder: Path,
) -> Rendered:
    """Write the manifest, features, contact sheet, page and JSON file. Media and pictures must already be in `folder`.

    Args:
        content: the content of render.json.
        features: the preprocessed features of the rendered media.
        distilled: the set.
        items: manifest of the real items.
        folder: output folder.
    """
    ids = tuple(f"row-{row.row:04d}" for row in content.rows)
    rows = tuple(
        Row(name, name, "train", {modality: medium.content for modality, medium in row.media.items()})
        for name, row in zip(ids, content.rows, strict=True)
    )
    write_manifest(Manifest(rows, dict(content.kinds), folder), folder / "items.csv", force=True)
    if len(features) > 1:
        provenance: dict[str, Any] = {"name": f"rendered {content.run}".strip(), "encoders": dict(content.encoders)}
        steps = distilled.preprocessing.only(list(features))
        rendered = FeatureSet(dict(features), ids, ids, ("train",) * len(ids), None, steps, provenance)
        save_features(rendered, folder / "features")
    sheet = contact_sheet(content, folder)
    if sheet is not None:
        write_atomic(folder / "sheet.png", sheet)
    write_atomic(folder / f"{NAME}.html", render_media_page(content, folder, items).encode())
    write_atomic(folder / f"{NAME}.json", (json.dumps(content.to_json(), indent=1, allow_nan=False) + "\n").encode())
    return Rendered(content, folder)
