"""Estimate the time and disk space of an encoding from a few items."""

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
from omnidistill.encoding.extraction.encode_settings import EncodeSettings, check_encoders, item_of
from omnidistill.encoding.extraction.workers import Job, Preparation
from omnidistill.encoding.manifests.manifest import Manifest, Row

_SET_ITEMSIZE = 4  # bytes per number in the packed FeatureSet
_SAMPLE = 4  # number of rows to time, evenly spaced in the manifest


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of an encoding.

    Attributes:
        rows: number of rows.
        items: number of items, rows times modalities.
        bytes: disk space for the shards and for the FeatureSet that is built from them.
        seconds: duration in seconds, including the start of the workers and the loading of the weights.
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
    """Estimate the cost of `encode` by encoding a few rows that are evenly spaced in the manifest.

    Two steps are timed separately: preparing the items, and running the model. Without worker processes, the time per
    item is the sum of both times. With worker processes, both steps run at the same time, so the time per item is the
    largest of three values: the preparation time divided by the number of workers, the model time, and the total CPU
    time divided by the number of cores. The start of the worker processes is timed too. Nothing is written.

    Args:
        manifest: table of media items to encode, one per row.
        encoders: {modality: encoder}.
        settings: encoding settings; None uses the defaults.
        limit: encode only the first `limit` rows; None encodes all rows.
        at_once: number of processes that encode shards concurrently; each process loads the weights.

    Raises:
        InputError: the encoders do not match the manifest (see `check_encoders`), or none of the sampled rows can be
            encoded.
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
        typical = sorted(prepared, key=Tensor.numel)[len(prepared) // 2]
        batch = typical.expand(size, *typical.shape).contiguous()
        first, encoding = _encode(encoder, batch), _encode(encoder, batch)
        loading += max(first.wall - encoding.wall, 0.0)
        seconds += _seconds_per_item(preparing.over(len(prepared)), encoding.over(size), settings.num_workers)
    if settings.num_workers:
        loading += _startup_seconds(manifest, sample[0], encoders, settings.num_workers)
    shards = -(-len(rows) // settings.shard_rows)
    busiest = min(len(rows), -(-shards // at_once) * settings.shard_rows)  # rows in the busiest process
    num_bytes = len(rows) * (stored * itemsize + width * _SET_ITEMSIZE)
    return Estimate(len(rows), len(rows) * len(encoders), num_bytes, loading + busiest * seconds)


def _startup_seconds(manifest: Manifest, row: Row, encoders: Mapping[str, Encoder], num_workers: int) -> float:
    """Return how many seconds all workers take to start and to prepare `num_workers` items per modality."""
    jobs = []
    for modality in encoders:
        with suppress(InputError):
            jobs += num_workers * [Job(0, modality, item_of(manifest, row, modality))]
    started_at = time.monotonic()
    with Preparation(encoders, num_workers, len(jobs)) as preparation:
        for _ in preparation.run(jobs):
            pass
        return time.monotonic() - started_at


@dataclass(frozen=True)
class _Duration:
    """A measured duration.

    Attributes:
        wall: wall-clock time in seconds.
        work: CPU time of this process in seconds, summed over all cores.
    """

    wall: float
    work: float

    def over(self, count: int) -> _Duration:
        return _Duration(self.wall / count, self.work / count)


def _encode(encoder: Encoder, batch: Tensor) -> _Duration:
    wall, work = time.monotonic(), time.process_time()
    encoder.encode(batch)
    return _Duration(time.monotonic() - wall, time.process_time() - work)


def _seconds_per_item(preparing: _Duration, encoding: _Duration, num_workers: int) -> float:
    if not num_workers:
        return preparing.wall + encoding.wall
    return max(preparing.wall / num_workers, encoding.wall, (preparing.work + encoding.work) / cores())


def _prepare(
    manifest: Manifest, sample: Sequence[Row], modality: str, encoder: Encoder
) -> tuple[list[Tensor], _Duration]:
    """Prepare the sampled items after an untimed warm-up. Return those that can be prepared, and the total time."""
    prepared: list[Tensor] = []
    wall = work = 0.0
    for number, row in enumerate([sample[0], *sample]):
        try:
            wall_start, work_start = time.monotonic(), time.process_time()
            tensor = encoder.prepare(item_of(manifest, row, modality))
        except Exception as error:  # `encode` skips bad items too
            reason = " ".join(str(error).split())
            continue
        if number:
            prepared.append(tensor)
            wall, work = wall + time.monotonic() - wall_start, work + time.process_time() - work_start
    if not prepared:
        raise InputError(
            f"encode: none of the {len(sample)} sampled rows could be encoded; check the files in the manifest "
            f"(last error, in modality {modality!r}: {reason})"
        )
    return prepared, _Duration(wall, work)
