"""Small coloured pictures with captions, a differentiable encoder of pictures, and a run of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.encoding.encoders import encoder_factory, encoders
from omnidistill.encoding.encoders.decode import picture_of
from omnidistill.encoding.encoders.encoder import Item
from omnidistill.encoding.extraction import EncodeSettings, encode_set
from omnidistill.encoding.inversion import PixelCanvas
from omnidistill.encoding.manifests.manifest import Manifest, Row
from omnidistill.encoding.manifests.write_manifest import write_manifest
from small_runs import cli

SIDE = 12
ANCHOR = ("--preset", "anchor", "--size", "8", "--set", "heads.width=8")
SPLITS = ("heads",) * 24 + ("train",) * 32 + ("validation",) * 24 + ("test",) * 24


@dataclass(frozen=True)
class Squares:
    """Random filters of the pixels, squared and averaged over positions."""

    factor: float = 1.0

    name, kind, width, views = "squares", "image", 20, 1

    def prepare(self, item: Item) -> Tensor:
        return picture_of(item).float() / 255

    def features(self, batch: Tensor) -> Tensor:
        filters = torch.randn(20, 3, 3, 3, generator=torch.Generator().manual_seed(round(self.factor)))
        return torch.nn.functional.conv2d(batch, filters).tanh().mean((2, 3)).unsqueeze(1)

    def encode(self, batch: Tensor) -> Tensor:
        return self.features(batch)

    def canvas(self, seconds: float) -> PixelCanvas:
        return PixelCanvas((3, SIDE, SIDE), (0.0,) * 3, (1.0,) * 3, self.prepare)

    def head(self) -> None:
        return None

    def fingerprint(self) -> dict[str, str]:
        return {"name": self.name}


@dataclass(frozen=True)
class Opaque:
    """The features of `Squares` without gradients."""

    name, kind, width, views, head = "opaque", "image", 20, 1, Squares.head

    def prepare(self, item: Item) -> Tensor:
        return Squares().prepare(item)

    def encode(self, batch: Tensor) -> Tensor:
        return Squares().encode(batch)

    def fingerprint(self) -> dict[str, str]:
        return {"name": self.name}


@dataclass(frozen=True)
class Words:
    """How often each letter occurs in a text."""

    name, kind, width, views = "words", "text", 26, 1

    def prepare(self, item: Item) -> Tensor:
        return torch.tensor([float(item.text.count(chr(97 + letter))) for letter in range(26)])

    def encode(self, batch: Tensor) -> Tensor:
        return batch.unsqueeze(1)

    def head(self) -> None:
        return None

    def fingerprint(self) -> dict[str, str]:
        return {"name": self.name}


def register() -> None:
    """Register "squares", which the data record by its name."""
    if "squares" not in encoders:
        encoders.register("squares")(encoder_factory("none")(lambda source, device: Squares()))


def encoded(manifest: Manifest, folder: Path, factor: float = 1.0, **settings: bool) -> FeatureSet:
    """Return the features of a manifest."""
    towers = {"image": Squares(factor), "text": Words()}
    here = EncodeSettings(num_workers=0)
    return encode_set.encode(manifest, towers, folder, settings=here, progress=False, **settings).data


def write_run(folder: Path) -> Path:
    """Write items.csv with its pictures, the set SET, and the run RUN, which is returned."""
    draw, rows = np.random.default_rng(0), []
    for number, split in enumerate(SPLITS):
        pixels = draw.integers(0, 256, (2, 2, 3), dtype=np.uint8).repeat(SIDE // 2, 0).repeat(SIDE // 2, 1)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        text = "".join(draw.choice(list("abcdefghij"), 8))
        rows.append(Row(f"item {number}", f"item {number}", split, {"image": f"{number}.png", "text": text}))
    manifest = Manifest(tuple(rows), {"image": "image", "text": "text"}, folder)
    write_manifest(manifest, folder / "items.csv")
    encoded(manifest, folder / "SET")
    outcome = cli("distill", folder / "SET", *ANCHOR, "-o", folder / "RUN")
    assert outcome.code == 0, outcome.err
    return folder / "RUN"
