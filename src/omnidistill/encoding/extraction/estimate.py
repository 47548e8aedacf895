"""What an encoding will take, from a few items: before hours are spent."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.core.memory import cores
from omnidistill.encoding.encoders.encoder import Encoder
from omnidistill.encoding.extraction.settings import EncodeSettings, check_encoders, item_of
from omnidistill.encoding.extraction.workers import Job, Preparation
from omnidistill.encoding.manifests.manifest import Manifest, Row

_SET_ITEMSIZE = 4  # bytes of a number of a packed set
_SAMPLE = 4  # rows that are tried, spread over the table


@dataclass(frozen=True)
class Estimate:
    """rows, items: to encode. bytes: of the shards, and of the set that they become. seconds: a guess, from a few
    items, with starting the workers and loading the weights.
    """

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
    at_once: int = 1,
) -> Estimate:
    """Count, and time the preparation and a batch of rows spread over the table; writes nothing. at_once: shards that
    are made side by side, by processes that each load the weights.

    Preparation and model take turns here and run side by side later, if there are cores for both: the slower of the two
    counts, or the work of both over the cores. The workers are started as they will be.

    Raises InputError for what `check_encoders` refuses, and where none of the rows tried can be.
    """
    settings = settings or EncodeSettings()
    rows = manifest.rows[:limit]
    check_encoders(manifest, rows, encoders)
    itemsize = torch.finfo(getattr(torch, settings.dtype)).bits // 8
    stored = sum(encoder.width * (encoder.views if settings.keep_views else 1) for encoder in encoders.values())
    width = sum(encoder.width for encoder in encoders.values())
    sample = [rows[number * (len(rows) - 1) // (_SAMPLE - 1)] for number in range(_SAMPLE)]
    loading = seconds = 0.0
    for modality, encoder in encoders.items():
        prepared, preparing = _prepare(manifest, sample, modality, encoder)
        size = min(settings.batch_size, len(rows), settings.shard_rows)
        usual = sorted(prepared, key=Tensor.numel)[len(prepared) // 2]
        batch = usual.expand(size, *usual.shape).contiguous()
        first, encoding = _encode(encoder, batch), _encode(encoder, batch)
        loading += max(first.wall - encoding.wall, 0.0)
        seconds += _side_by_side(preparing.over(len(prepared)), encoding.over(size), settings.num_workers)
    if settings.num_workers:
        loading += _starting(manifest, sample[0], encoders, settings.num_workers)
    shards = -(-len(rows) // settings.shard_rows)
    busiest = min(len(rows), -(-shards // at_once) * settings.shard_rows)  # rows of one process
    num_bytes = len(rows) * (stored * itemsize + width * _SET_ITEMSIZE)
    return Estimate(len(rows), len(rows) * len(encoders), num_bytes, loading + busiest * seconds)


def _starting(manifest: Manifest, row: Row, encoders: Mapping[str, Encoder], num_workers: int) -> float:
    """Seconds until workers have started and have prepared, or refused, one item of every modality each."""
    jobs = []
    for modality in encoders:
        with suppress(InputError):
            jobs += num_workers * [Job(0, modality, item_of(manifest, row, modality))]
    begun = time.monotonic()
    with Preparation(encoders, num_workers, len(jobs)) as preparation:
        for _ in preparation.run(jobs):
            pass
        return time.monotonic() - begun


@dataclass(frozen=True)
class _Took:
    """wall: seconds that passed. work: seconds of all cores that this process used."""

    wall: float
    work: float

    def over(self, count: int) -> _Took:
        return _Took(self.wall / count, self.work / count)


def _encode(encoder: Encoder, batch: Tensor) -> _Took:
    wall, work = time.monotonic(), time.process_time()
    encoder.encode(batch)
    return _Took(time.monotonic() - wall, time.process_time() - work)


def _side_by_side(preparing: _Took, encoding: _Took, num_workers: int) -> float:
    """Seconds of an item."""
    if not num_workers:
        return preparing.wall + encoding.wall
    return max(preparing.wall / num_workers, encoding.wall, (preparing.work + encoding.work) / cores())


def _prepare(manifest: Manifest, sample: Sequence[Row], modality: str, encoder: Encoder) -> tuple[list[Tensor], _Took]:
    """The rows of the sample that can be prepared, and how long they took; the first one warms up, and comes again."""
    prepared: list[Tensor] = []
    wall = work = 0.0
    for number, row in enumerate([sample[0], *sample]):
        try:
            begun, used = time.monotonic(), time.process_time()
            found = encoder.prepare(item_of(manifest, row, modality))
        except Exception as error:  # as when encoding: a bad item is not the end
            reason = " ".join(str(error).split())
            continue
        if number:
            prepared.append(found)
            wall, work = wall + time.monotonic() - begun, work + time.process_time() - used
    if not prepared:
        raise InputError(f"encode: none of {len(sample)} rows tried could be encoded; {modality}: {reason}")
    return prepared, _Took(wall, work)
