"""What an encoding will take, from a few items: before hours are spent."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from omnidistill.encoders.protocol import Encoder
from omnidistill.errors import InputError
from omnidistill.extraction.rows import EncodeSettings, check_encoders, item_of
from omnidistill.manifest.table import Manifest

_SAMPLE = 3  # rows that are tried after a first one, which also loads the weights


@dataclass(frozen=True)
class Estimate:
    """rows, items: to encode. bytes: of the stored features. seconds: a guess, from a few items."""

    rows: int
    items: int
    bytes: int
    seconds: float


def estimate(
    manifest: Manifest,
    encoders: Mapping[str, Encoder],
    *,
    settings: EncodeSettings | None = None,
    limit: int | None = None,
) -> Estimate:
    """Count, and time the preparation and encoding of rows spread over the table; writes nothing.

    Preparation and model take turns here and run side by side later, so the slower of the two counts.

    Raises InputError for what `check_encoders` refuses, and where none of the rows tried can be.
    """
    settings = settings or EncodeSettings()
    rows = manifest.rows[:limit]
    check_encoders(manifest, rows, encoders)
    itemsize = torch.finfo(getattr(torch, settings.dtype)).bits // 8
    values = sum(encoder.width * (encoder.views if settings.keep_views else 1) for encoder in encoders.values())
    sample = [rows[number * (len(rows) - 1) // _SAMPLE] for number in range(_SAMPLE + 1)]
    seconds = 0.0
    for modality, encoder in encoders.items():
        times = []
        for row in sample:
            try:
                begun = time.monotonic()
                prepared = encoder.prepare(item_of(manifest, row, modality))
                ready = time.monotonic()
            except Exception as error:  # as when encoding: a bad item is not the end
                reason = " ".join(str(error).split())
                continue
            encoder.encode(prepared[None])
            times.append((ready - begun, time.monotonic() - ready))
        if not times:
            raise InputError(f"encode: none of {len(sample)} rows tried could be encoded; {modality}: {reason}")
        preparing, encoding = (sum(each) / len(each) for each in zip(*(times[1:] or times), strict=True))
        seconds += len(rows) * max(preparing / max(settings.num_workers, 1), encoding)
    return Estimate(len(rows), len(rows) * len(encoders), len(rows) * values * itemsize, seconds)
