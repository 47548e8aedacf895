"""Small stand-ins for what the icons dataset is made from: ten npm packages, a voice, a rasteriser and encoders."""

from __future__ import annotations

import hashlib
import io
import json
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from omnidistill.encoding.encoders.encoder import Item

WORDS = [f"{colour}-{thing}" for colour in ("red", "blue", "green", "dark") for thing in ("cat", "sun", "hat", "key")]
NAMES = [*WORDS, "star"]
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path d="M1 {0}h{0}v9z"/></svg>'


def write_modules(root: Path, packs: Any) -> Path:
    """Write `node_modules` with a small package of every layout; every package has every name of `NAMES`."""
    writers = {name: globals()[f"_{name}"] for name in (pack.name for pack in packs)}
    for number, pack in enumerate(packs):
        folder = root / "node_modules" / pack.package
        _write(folder / "package.json", json.dumps({"version": pack.version, "license": pack.stated}))
        if pack.phrase:
            _write(folder / "LICENSE", f"Copyright somebody\n\n{pack.phrase}\n")
        writers[pack.name](folder, {name: SVG.format(100 * number + place) for place, name in enumerate(NAMES)})
    return root / "node_modules"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def _drawings(folder: Path, drawings: Mapping[str, str], ending: str = ".svg") -> None:
    for name, svg in drawings.items():
        _write(folder / f"{name}{ending}", svg)


def _tabler(folder: Path, drawings: Mapping[str, str]) -> None:
    icons = {name: {"category": "Things", "tags": ["tag-of", name], "styles": {"outline": {}}} for name in drawings}
    icons["brand-x"] = {"category": "Brand", "tags": [], "styles": {"outline": {}}}
    _write(folder / "icons.json", json.dumps(icons))
    _drawings(folder / "icons" / "outline", drawings)


def _phosphor(folder: Path, drawings: Mapping[str, str]) -> None:
    entries = "".join(
        f'{{\n    name: "{name}",\n    pascal_name: "X",\n'
        f'    categories: [e.MAP],\n    tags: ["*new*", "{name}", "nut"]\n}},'
        for name in drawings
    )
    _write(folder / "dist" / "index.mjs", f"const n = [{entries}];")
    _drawings(folder / "assets" / "regular", drawings)


def _mdi(folder: Path, drawings: Mapping[str, str]) -> None:
    both = [*drawings, *(f"{name}-outline" for name in drawings)]
    icons = [{"name": name, "aliases": ["other-name"], "tags": ["Shape"], "deprecated": False} for name in both]
    icons.append({"name": "old", "aliases": [], "tags": [], "deprecated": True})
    _write(folder / "meta.json", json.dumps(icons))
    _drawings(folder / "svg", drawings)


def _lucide(folder: Path, drawings: Mapping[str, str]) -> None:
    _write(folder / "tags.json", json.dumps({name: ["thing"] for name in [*drawings, "without-drawing"]}))
    _drawings(folder / "icons", drawings)


def _fontawesome(folder: Path, drawings: Mapping[str, str]) -> None:
    icons = {name: {"search": {"terms": ["term", 7]}} for name in [*drawings, "brand"]}
    _write(folder / "metadata" / "icon-families.json", json.dumps(icons))
    _drawings(folder / "svgs" / "solid", drawings)


def _ionicons(folder: Path, drawings: Mapping[str, str]) -> None:
    icons = [{"name": name, "tags": []} for name in [*drawings, "logo-x"]]
    _write(folder / "dist" / "ionicons.json", json.dumps({"icons": icons}))
    _drawings(folder / "dist" / "svg", drawings)


def _carbon(folder: Path, drawings: Mapping[str, str]) -> None:
    icons = [{"name": name, "aliases": ["IBM Watson", "alias"]} for name in drawings]
    _write(folder / "metadata.json", json.dumps({"icons": icons}))
    _drawings(folder / "svg" / "32", drawings)


def _fluent(folder: Path, drawings: Mapping[str, str]) -> None:
    _drawings(folder / "icons", {name.replace("-", "_"): svg for name, svg in drawings.items()}, "_24_regular.svg")


def _bootstrap(folder: Path, drawings: Mapping[str, str]) -> None:
    _drawings(folder / "icons", drawings)


def _iconoir(folder: Path, drawings: Mapping[str, str]) -> None:
    _drawings(folder / "icons" / "regular", drawings)


def rasterise(svg: str) -> bytes:
    """A small picture in a colour that depends on the drawing."""
    file = io.BytesIO()
    Image.new("RGB", (4, 4), "#" + hashlib.sha256(svg.encode()).hexdigest()[:6]).save(file, "PNG")
    return file.getvalue()


def write_voice(path: Path) -> str:
    """Write a program that takes the arguments of espeak-ng, and writes a short sound that ends with them."""
    sound = path.with_suffix(".wav")
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(640))
    path.write_text(f'#!/bin/sh\n{{ cat {sound}; printf "%s" "$2 $9"; }} > "$8"\n')
    path.chmod(0o755)
    return str(path)


def seconds_of(path: Path) -> float:
    with wave.open(str(path)) as file:
        return file.getnframes() / file.getframerate()


@dataclass(frozen=True)
class Digest:
    """An encoder of one modality: eight numbers that depend on the content."""

    kind: Literal["image", "text", "audio"]
    width: int = 8
    views: int = 1

    @property
    def name(self) -> str:
        return f"digest-{self.kind}"

    @property
    def licence(self) -> str:
        return "CC0-1.0"

    def prepare(self, item: Item) -> Tensor:
        content = item.text.encode() if self.kind == "text" else Path(str(item.source)).read_bytes()
        return torch.frombuffer(bytearray(hashlib.sha256(content).digest()[:8]), dtype=torch.uint8).float()

    def encode(self, batch: Tensor) -> Tensor:
        return batch.unsqueeze(1)

    def head(self) -> None:
        return None

    def fingerprint(self) -> dict[str, str]:
        return {"name": self.name}
