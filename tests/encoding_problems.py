"""A manifest of texts and small files, and encoders of arithmetic for them: what an encoding is tested with."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from omnidistill.encoding.encoders.encoder import Item
from omnidistill.encoding.manifests.manifest import Manifest, Row


@dataclass(frozen=True)
class Letters:
    """How often each letter occurs; the counts of a text of n letters are n-dependent in shape, as tokens are."""

    scale: float = 1.0
    device: str = "cpu"
    licence: str | None = None
    longest: int = 99
    calls: list[int] = field(default_factory=list, compare=False)

    name, kind, width, views = "letters", "text", 26, 1

    def prepare(self, item: Item) -> Tensor:
        return torch.tensor([ord(letter) - 97 for letter in item.text[: self.longest]])

    def truncates(self, item: Item) -> bool:
        return len(item.text) > self.longest

    def encode(self, batch: Tensor) -> Tensor:
        self.calls.append(len(batch))
        counts = torch.nn.functional.one_hot(batch.clamp(0, 25), 26).sum(1)
        return (self.scale * counts.float()).unsqueeze(1)

    def head(self) -> Tensor | None:
        return None

    def fingerprint(self) -> dict[str, str]:
        return {"name": self.name, "scale": str(self.scale)}


@dataclass(frozen=True)
class Files:
    """The bytes of a file, four a view; a file of "kill" takes its process down, one of "slow" takes its time."""

    projection: bool = False

    name, kind, width, views = "files", "audio", 4, 3

    def prepare(self, item: Item) -> Tensor:
        assert isinstance(item.source, Path)
        data = item.source.read_bytes()
        if data == b"kill":
            os._exit(1)
        if data == b"slow":
            time.sleep(0.2)
        if not data:
            raise ValueError(f"{item.source.name}: is\nempty")
        return torch.frombuffer(bytearray(data.ljust(12, b"\1")[:12]), dtype=torch.uint8).float()

    def encode(self, batch: Tensor) -> Tensor:
        return batch.view(-1, 3, 4)

    def head(self) -> Tensor | None:
        return torch.eye(4)[:3] if self.projection else None

    def fingerprint(self) -> dict[str, str]:
        return {"name": self.name}


TEXTS = ("abc", "de", "fgh", "ij", "klm", "no", "pqr", "st", "uvw", "xy", "zza", "bc")
SPLITS = ("train",) * 8 + ("validation",) * 2 + ("test",) * 2


def write_manifest(root: Path, contents: Iterable[bytes] | None = None) -> Manifest:
    """12 rows; the file of row n begins with its number."""
    given = list(contents) if contents is not None else [bytes([n, 7 * n % 11, 1, 3]) * 3 for n in range(12)]
    root.mkdir(exist_ok=True)
    for number, data in enumerate(given):
        (root / f"{number}.bin").write_bytes(data)
    rows = tuple(
        Row(f"row {n}", f"group {n}", SPLITS[n], {"text": TEXTS[n], "sound": f"{n}.bin"}) for n in range(len(given))
    )
    return Manifest(rows, {"text": "text", "sound": "audio"}, root)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below, by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
