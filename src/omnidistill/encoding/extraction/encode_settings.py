"""Encoding settings, and the check that the encoders match the manifest."""

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
    """Encoding settings. Every setting except `num_workers` can change the exact values of the features.

    Attributes:
        batch_size: number of items that the model encodes at once.
        shard_rows: rows per shard; an interrupted run loses at most one shard.
        num_workers: number of processes that prepare items; 0 prepares them in this process.
        dtype: dtype of the stored features.
        keep_views: whether to store every view of an item instead of the average over its views.
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
                raise InputError(f"encode: {name} is {getattr(self, name)}, but must be at least {allowed}")


def item_of(manifest: Manifest, row: Row, modality: str) -> Item:
    """Return the item of one modality in a row, as input for an encoder.

    Raises:
        InputError: the path of the file leads outside the manifest's root.
    """
    content = manifest.content(row, modality)
    return Item(content) if manifest.kinds[modality] == "text" else Item(content, row.start, row.end)


def check_encoders(manifest: Manifest, rows: Sequence[Row], encoders: Mapping[str, Encoder]) -> None:
    """Check that the manifest has a column of the right kind for every encoder, and that no row lacks a modality.

    An audio encoder may also read the sound of the videos in a video column.

    Raises:
        InputError: a column is missing or has the wrong kind, a row lacks a modality, or there are no encoders.
    """
    if not encoders:
        raise InputError("encode: no encoders; pass one encoder per modality")
    for modality, encoder in encoders.items():
        kind = manifest.kinds.get(modality)
        if kind is None:
            raise InputError(
                f"modality {modality!r} is not a column of the manifest; "
                f"the modality columns are {', '.join(manifest.kinds)}"
                f"{nearest(modality, manifest.kinds)}"
            )
        if kind != encoder.kind and (kind, encoder.kind) != ("video", "audio"):
            raise InputError(
                f"modality {modality!r}: the column contains {kind}, but encoder {encoder.name!r} reads "
                f"{encoder.kind}; use another encoder"
            )
        incomplete = [row.id for row in rows if modality not in row.media]
        if incomplete:
            raise InputError(
                f"modality {modality!r} is missing in {len(incomplete):,} rows (the first is {incomplete[0]!r}); "
                "remove these rows from the manifest"
            )


def digest_of(manifest: Manifest, rows: Sequence[Row], modalities: Iterable[str]) -> str:
    """Return the SHA-256 digest, in hex digits, of these rows and of the sizes of their files."""
    content = [
        [row.id, row.group, row.split, row.start, row.end]
        + [[name, row.media[name], _size(manifest, row, name)] for name in modalities]
        for row in rows
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _size(manifest: Manifest, row: Row, modality: str) -> int | None:
    """Return the size in bytes of the file for one modality of a row, or None if there is no file.

    The size is part of the shard's digest. The digest thus changes if a file is added or gets another size.
    """
    with suppress(OSError, ValueError):
        if isinstance(content := manifest.content(row, modality), Path):
            return content.stat().st_size
    return None
