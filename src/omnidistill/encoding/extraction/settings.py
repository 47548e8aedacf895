"""What is encoded and how: the items of a manifest, and the settings that decide every bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from omnidistill.core.errors import InputError, nearest
from omnidistill.encoding.encoders.encoder import Encoder, Item
from omnidistill.encoding.manifests.manifest import Manifest, Row


@dataclass(frozen=True)
class EncodeSettings:
    """How items are encoded.

    batch_size: items that go through a model together. shard_rows: rows a shard, what a killed run may lose.
    num_workers: processes that prepare items; 0 prepares in this one. dtype: of the stored features. keep_views: store
    every view of an item, not their average. All but `num_workers` decide the bits of the result.
    """

    batch_size: int = 16
    shard_rows: int = 512
    num_workers: int = 2
    dtype: Literal["float16", "float32"] = "float16"
    keep_views: bool = False

    def __post_init__(self) -> None:
        least = {"batch_size": 1, "shard_rows": 1, "num_workers": 0}
        for name, allowed in least.items():
            if getattr(self, name) < allowed:
                raise InputError(f"encode: {name} is {getattr(self, name)}; it must be at least {allowed}")


def item_of(manifest: Manifest, row: Row, modality: str) -> Item:
    """What the encoder of a modality is given of a row. Raises InputError for a path that leads out of the root."""
    content = manifest.content(row, modality)
    return Item(content) if manifest.kinds[modality] == "text" else Item(content, row.start, row.end)


def check_encoders(manifest: Manifest, rows: Sequence[Row], encoders: Mapping[str, Encoder]) -> None:
    """Raise InputError for no encoders, a modality that is no column or of another kind, or that a row lacks.

    An encoder of sound reads the sound of videos too.
    """
    if not encoders:
        raise InputError("encode: no encoders; give one for each modality")
    for modality, encoder in encoders.items():
        kind = manifest.kinds.get(modality)
        if kind is None:
            raise InputError(
                f"modality {modality!r}: no column of the manifest; it has {', '.join(manifest.kinds)}"
                f"{nearest(modality, manifest.kinds)}"
            )
        if kind != encoder.kind and (kind, encoder.kind) != ("video", "audio"):
            raise InputError(
                f"modality {modality!r}: its column is {kind}, encoder {encoder.name!r} reads {encoder.kind}"
            )
        lacking = [row.id for row in rows if modality not in row.media]
        if lacking:
            raise InputError(
                f"modality {modality!r}: {len(lacking):,} rows have none (the first is {lacking[0]!r}); "
                "drop them from the manifest"
            )


def digest_of(manifest: Manifest, rows: Sequence[Row], modalities: Iterable[str]) -> str:
    """A name for what these rows say, and for the sizes of their files: 64 hex digits."""
    told = [
        [row.id, row.group, row.split, row.start, row.end]
        + [[name, row.media[name], _size(manifest, row, name)] for name in modalities]
        for row in rows
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _size(manifest: Manifest, row: Row, modality: str) -> int | None:
    """Of a file, so that one which arrived late, or was replaced, is encoded anew."""
    with suppress(OSError, ValueError):
        if isinstance(content := manifest.content(row, modality), Path):
            return content.stat().st_size
    return None
