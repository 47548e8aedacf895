"""Encode: rows -> prepared items -> features, shard by shard; what is finished is never made again.

    OUT/encoders.json   written first: fingerprints of the encoders and the settings; others are refused afterwards
    OUT/shards/NNNNN    one a shard, see `shards`; kept on resuming if it was made from the same rows
    OUT/encoded.json    written last: how many shards there are, and how many rows were kept

Memory holds one shard's features and a few batches of prepared items, however many rows there are. The result does not
depend on where a run was cut: what shares a batch never leaves its shard.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.artifacts import exclusive, read_json, write_atomic
from omnidistill.encoders.protocol import Encoder, Item
from omnidistill.errors import InputError
from omnidistill.extraction.batches import batches
from omnidistill.extraction.preparing import Bad, Job, Preparation, Prepared
from omnidistill.extraction.rows import EncodeSettings, check_encoders, digest_of, item_of
from omnidistill.extraction.shards import BadItem, Shard, is_made, load_shard, save_shard, shard_folder
from omnidistill.manifest.table import Manifest, Row
from omnidistill.tracking import Progress, SilentProgress

ENCODERS, ENCODED = "encoders.json", "encoded.json"


@dataclass(frozen=True)
class Encoded:
    """What was encoded. rows: of which every item was good. bad: the other rows' bad items. shards: how many."""

    folder: Path
    rows: int
    bad: tuple[BadItem, ...]
    shards: int

    def lines(self, most: int = 10) -> list[str]:
        """The report for people, one fact a line; up to `most` bad items are named."""
        lost = len({item.id for item in self.bad})
        told = [f"bad    {item.id}, {item.modality}: {item.why}" for item in self.bad[:most]]
        more = [f"       and {len(self.bad) - most} more, see {self.folder / ENCODED}"] if len(self.bad) > most else []
        return [f"rows   {self.rows:,} encoded, {lost:,} left out", *told, *more]


@dataclass(frozen=True)
class _Part:
    """The rows of one shard."""

    folder: Path
    rows: Sequence[Row]
    digest: str


def encode(
    manifest: Manifest,
    encoders: Mapping[str, Encoder],
    out: Path,
    *,
    settings: EncodeSettings | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Encoded:
    """Encode these modalities of every row into shards in `out`; continues an interrupted run to the same bits.

    encoders: {modality: encoder}. limit: only so many rows, from the first on. A row with a bad item is left out and
    named. Rows may be added at the end of the manifest between runs: shards that they do not change are kept.

    Raises:
        InputError: encoders and manifest don't fit (see `check_encoders`); a folder of other encoders or settings, or
            one in use; no row of the first shard could be encoded.
    """
    settings = settings or EncodeSettings()
    progress = progress or SilentProgress()
    rows = manifest.rows[:limit]
    check_encoders(manifest, rows, encoders)
    with exclusive(out):
        _require_same(out, encoders, settings)
        parts = list(_parts(manifest, rows, encoders, out, settings.shard_rows))
        missing = [part for part in parts if not is_made(part.folder, part.digest)]
        if missing:
            (out / ENCODED).unlink(missing_ok=True)
        ahead = settings.batch_size + 2 * settings.num_workers
        with progress, Preparation(encoders, settings.num_workers, ahead) as preparation:
            items = len(rows) * len(encoders)
            progress.start(items, "encode", items - sum(len(part.rows) for part in missing) * len(encoders))
            prepared = _told(preparation.run(_jobs(manifest, missing, encoders)), progress)
            for part in missing:
                shard = _encode_shard(part.rows, prepared, encoders, settings)
                if part is parts[0] and not shard.ids:
                    first = shard.bad[0]
                    raise InputError(
                        f"encode: none of the first {len(part.rows)} rows could be encoded; {_said(first)}"
                    )
                save_shard(part.folder, shard, part.digest)
        return _finish(out, len(parts))


def _parts(
    manifest: Manifest, rows: Sequence[Row], modalities: Iterable[str], out: Path, shard_rows: int
) -> Iterator[_Part]:
    for number, begin in enumerate(range(0, len(rows), shard_rows)):
        these = rows[begin : begin + shard_rows]
        yield _Part(shard_folder(out, number), these, digest_of(manifest, these, modalities))


def _jobs(manifest: Manifest, parts: Iterable[_Part], modalities: Iterable[str]) -> Iterator[Job]:
    """Shard by shard, modality by modality."""
    for part in parts:
        for modality in modalities:
            for number, row in enumerate(part.rows):
                yield Job(number, modality, _item(manifest, row, modality))


def _item(manifest: Manifest, row: Row, modality: str) -> Item | Bad:
    try:
        return item_of(manifest, row, modality)
    except InputError as error:
        return Bad(str(error))


def _told(prepared: Iterable[tuple[Job, Prepared]], progress: Progress) -> Iterator[tuple[Job, Prepared]]:
    """The same, with the progress told of each."""
    begun, done, bad = time.monotonic(), 0, 0
    for job, found in prepared:
        done, bad = done + 1, bad + isinstance(found, Bad)
        progress.advance(1, items_per_s=done / max(time.monotonic() - begun, 1e-9), **({"bad": bad} if bad else {}))
        yield job, found


def _encode_shard(
    rows: Sequence[Row],
    prepared: Iterator[tuple[Job, Prepared]],
    encoders: Mapping[str, Encoder],
    settings: EncodeSettings,
) -> Shard:
    """The features of these rows, whose items come next of `prepared`."""
    bad: list[tuple[int, str, str]] = []
    features = {}
    for modality, encoder in encoders.items():
        good = _good(islice(prepared, len(rows)), bad)
        features[modality] = _encode_modality(good, modality, encoder, len(rows), settings, bad)
    lost = {row for row, _, _ in bad}
    kept = [number for number in range(len(rows)) if number not in lost]
    return Shard(
        {modality: x[kept] for modality, x in features.items()},
        tuple(rows[number].id for number in kept),
        tuple(rows[number].group for number in kept),
        tuple(rows[number].split for number in kept),
        tuple(BadItem(rows[number].id, modality, why) for number, modality, why in sorted(bad)),
    )


def _good(prepared: Iterable[tuple[Job, Prepared]], bad: list[tuple[int, str, str]]) -> Iterator[tuple[int, Tensor]]:
    """What could be prepared; the rest is added to `bad`."""
    for job, found in prepared:
        if isinstance(found, Bad):
            bad.append((job.row, job.modality, found.why))
        else:
            yield job.row, found


def _encode_modality(
    good: Iterable[tuple[int, Tensor]],
    modality: str,
    encoder: Encoder,
    count: int,
    settings: EncodeSettings,
    bad: list[tuple[int, str, str]],
) -> Float[Tensor, "{count} ..."]:
    """One row each of `count` rows, 0 for those that are bad."""
    shape = (encoder.views, encoder.width) if settings.keep_views else (encoder.width,)
    stored = torch.zeros(count, *shape, dtype=getattr(torch, settings.dtype))
    for batch in batches(good, settings.batch_size):
        numbers = [number for number, _ in batch]
        views = encoder.encode(torch.stack([tensor for _, tensor in batch]))
        if views.shape != (len(batch), encoder.views, encoder.width):
            raise InputError(
                f"encoder {encoder.name!r}: gave features of shape {tuple(views.shape)} for {len(batch)} items; "
                f"it promises {encoder.views} views of {encoder.width}"
            )
        found = (views if settings.keep_views else views.mean(1)).to(stored.dtype)
        stored[numbers] = found
        for number, sound in zip(numbers, found.flatten(1).isfinite().all(1).tolist(), strict=True):
            if not sound:
                bad.append((number, modality, f"its feature is NaN, Inf, or too large for {settings.dtype}"))
    return stored


def _require_same(out: Path, encoders: Mapping[str, Encoder], settings: EncodeSettings) -> None:
    """Write what the shards are made by, or compare it with what is there."""
    wanted: dict[str, Any] = {
        "encoders": {modality: encoder.fingerprint() for modality, encoder in encoders.items()},
        "batch_size": settings.batch_size,
        "shard_rows": settings.shard_rows,
        "dtype": settings.dtype,
        "keep_views": settings.keep_views,
    }
    path = out / ENCODERS
    if not path.exists() or not (out / "shards").exists():  # nothing is lost by another choice
        write_atomic(path, json.dumps(wanted, indent=1).encode() + b"\n")
        return
    found = read_json(path)
    if differing := [*_differing(found.get("encoders", {}), wanted["encoders"]), *_settings_differing(found, wanted)]:
        raise InputError(
            f"{out}: was encoded otherwise ({'; '.join(differing)}); go on as it was begun, or choose another folder"
        )


def _differing(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    for modality in dict.fromkeys([*found, *wanted]):
        before, now = found.get(modality, {}), wanted.get(modality, {})
        for key in dict.fromkeys([*before, *now]):
            if before.get(key) != now.get(key):
                yield f"{modality} {key}: {_short(before.get(key))} there, {_short(now.get(key))} now"
                break


def _settings_differing(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    for key, value in wanted.items():
        if key != "encoders" and found.get(key) != value:
            yield f"{key}: {found.get(key)} there, {value} now"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."


def _finish(out: Path, count: int) -> Encoded:
    """Drop shards of rows that the table no longer has, and write what is there."""
    numbers = sorted(int(folder.name) for folder in (out / "shards").iterdir() if folder.name.isdigit())
    for number in numbers:
        if number >= count:
            shutil.rmtree(shard_folder(out, number))
    rows, bad = 0, list[BadItem]()
    for number in range(count):
        shard = load_shard(shard_folder(out, number))
        rows, bad = rows + len(shard.ids), [*bad, *shard.bad]
    told = {"shards": count, "rows": rows, "bad": [vars(item) for item in bad]}
    write_atomic(out / ENCODED, json.dumps(told, indent=1, ensure_ascii=False).encode() + b"\n")
    return Encoded(out, rows, tuple(bad), count)


def _said(item: BadItem) -> str:
    return f"{item.modality} of {item.id!r}: {item.why}"
