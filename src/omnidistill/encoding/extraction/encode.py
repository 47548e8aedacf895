"""Encode the rows of a manifest (a table of media items) in shards. A shard is a block of consecutive rows.

    OUT/encoders.json   written first: fingerprints of the encoders, settings, and licences of the weights
    OUT/shards/NNNNN    one folder per shard, see the module `shards`
    OUT/encoded.json    written last: number of shards, number of encoded rows, failed items, number of truncated items

A run that was interrupted can be resumed with the same encoders and settings. A finished shard is reused unless its
rows, or the sizes of their files, have changed. A batch never contains items of two shards, so the features are the
same as without the interruption. The memory for features does not grow with the number of rows: each process holds at
most one shard of features and a few batches of preprocessed items.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnidistill.core.engines import Engine, LocalEngine
from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.encoder import Encoder, licences_of
from omnidistill.encoding.extraction.encode_settings import EncodeSettings, check_encoders, digest_of
from omnidistill.encoding.extraction.shard_task import Part, ShardEncoder
from omnidistill.encoding.extraction.shards import BadItem, is_complete, load_shard, shard_folder
from omnidistill.encoding.extraction.workers import Bad, Job, Prepared
from omnidistill.encoding.manifests.manifest import Manifest, Row
from omnidistill.io.artifacts import exclusive, write_atomic
from omnidistill.io.input_files import read_json
from omnidistill.io.tracking import Progress, SilentProgress

ENCODERS, ENCODED = "encoders.json", "encoded.json"


@dataclass(frozen=True)
class Encoded:
    """Result of `encode`.

    Attributes:
        folder: output folder, which contains the shards.
        rows: number of encoded rows. A row is dropped if any of its items cannot be encoded.
        bad: the items that could not be encoded.
        cut: {modality: number of items that were truncated because they are too long for the encoder}.
        shards: number of shards.
    """

    folder: Path
    rows: int
    bad: tuple[BadItem, ...]
    cut: dict[str, int]
    shards: int

    def lines(self, most: int = 10) -> list[str]:
        """Return a text report. It lists at most `most` items that could not be encoded."""
        dropped = len({item.id for item in self.bad})
        bad = [f"bad    {item.id}, {item.modality}: {item.why}" for item in self.bad[:most]]
        more = [f"       and {len(self.bad) - most} more, see {self.folder / ENCODED}"] if len(self.bad) > most else []
        cut = [
            f"cut    {name}: {n:,} items truncated because they are longer than the encoder reads"
            for name, n in self.cut.items()
        ]
        return [f"rows   {self.rows:,} encoded, {dropped:,} dropped", *bad, *more, *cut]


def encode(
    manifest: Manifest,
    encoders: Mapping[str, Encoder],
    out: Path,
    *,
    settings: EncodeSettings | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
    engine: Engine | None = None,
) -> Encoded:
    """Encode the items of every row of a manifest, and save the features as shards in `out`.

    To resume an interrupted run, repeat the call. The result is the same as without the interruption. Rows with an item
    that cannot be encoded are dropped and listed in the result. You may append rows to the manifest and repeat the
    call; unchanged shards are reused.

    Args:
        manifest: table of media items; each row is encoded.
        encoders: {modality: encoder}.
        out: output folder.
        settings: encoding settings; None uses the defaults.
        limit: encode only the first `limit` rows; None encodes all rows.
        progress: shows the number of encoded items; None shows nothing.
        engine: the engine that encodes the shards; None encodes them in this process. All engines give bit-identical
            results.

    Raises:
        InputError: the encoders do not match the manifest (see `check_encoders`); the folder contains features from
            different encoders or settings; another run is using the folder; or no row of the first shard can be
            encoded.
    """
    settings = settings or EncodeSettings()
    progress = progress or SilentProgress()
    rows = manifest.rows[:limit]
    check_encoders(manifest, rows, encoders)
    with exclusive(out):
        _check_resumable(out, encoders, settings)
        parts = list(_parts(manifest, rows, encoders, out, settings.shard_rows))
        missing = [part for part in parts if not is_complete(part.folder, part.digest)]
        if missing:
            (out / ENCODED).unlink(missing_ok=True)
        with progress:
            items = len(rows) * len(encoders)
            progress.start(items, "encode", items - sum(len(part.rows) for part in missing) * len(encoders))
            shard_encoder = ShardEncoder(manifest, encoders, settings)
            _encode_parts(shard_encoder, missing, engine or LocalEngine(), _reporter(progress))
        return _finish(out, len(parts))


def has_encoding(out: Path) -> bool:
    """Return whether `encode` has been started in this folder."""
    return (out / ENCODERS).is_file()


def _encode_parts(
    shard_encoder: ShardEncoder, parts: Sequence[Part], engine: Engine, report: Callable[[int, int], None]
) -> None:
    """Encode the missing shards.

    If the engine runs in this process, items of the next shard are preprocessed while the current shard is encoded.
    With any other engine, each shard is a separate task.
    """
    if engine.here:
        with shard_encoder.preparation:
            prepared = _with_reports(shard_encoder.prepared(parts), report)
            for part in parts:
                shard_encoder.shard(part, prepared)
        return
    with closing(engine.run(shard_encoder, parts, helpers=shard_encoder.settings.num_workers)) as finished:
        for done in finished:
            report(len(parts[done.number].rows) * len(shard_encoder.encoders), done.result())


def _parts(
    manifest: Manifest, rows: Sequence[Row], modalities: Iterable[str], out: Path, shard_rows: int
) -> Iterator[Part]:
    for number, begin in enumerate(range(0, len(rows), shard_rows)):
        shard_items = rows[begin : begin + shard_rows]
        yield Part(number, shard_folder(out, number), shard_items, digest_of(manifest, shard_items, modalities))


def _with_reports(
    prepared: Iterable[tuple[Job, Prepared]], report: Callable[[int, int], None]
) -> Iterator[tuple[Job, Prepared]]:
    """Yield the pairs (job, prepared item) in `prepared`, and report the progress before each pair."""
    for job, result in prepared:
        report(1, isinstance(result, Bad))
        yield job, result


def _reporter(progress: Progress) -> Callable[[int, int], None]:
    """Return a function `report(items, failed_items)` that advances the progress by these numbers of items."""
    started_at, done, bad = time.monotonic(), 0, 0

    def report(items: int, bad_items: int) -> None:
        nonlocal done, bad
        done, bad = done + items, bad + bad_items
        rate = done / max(time.monotonic() - started_at, 1e-9)
        progress.advance(items, items_per_s=rate, **({"bad": bad} if bad else {}))

    return report


def _check_resumable(out: Path, encoders: Mapping[str, Encoder], settings: EncodeSettings) -> None:
    """Check that the shards in `out` were made with the same encoders and settings.

    If `out` contains no shards, write the encoders, settings and licences to encoders.json instead.

    Raises:
        InputError: the encoders or settings differ from those in encoders.json, or this file is missing.
    """
    requested: dict[str, Any] = {
        "encoders": {modality: encoder.fingerprint() for modality, encoder in encoders.items()},
        "batch_size": settings.batch_size,
        "shard_rows": settings.shard_rows,
        "dtype": settings.dtype,
        "keep_views": settings.keep_views,
    }
    path = out / ENCODERS
    if not (out / "shards").exists():  # there is nothing to resume
        content = {**requested, "licences": licences_of(encoders)}
        write_atomic(path, json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")
        return
    stored = read_json(path)
    differences = [
        *_encoder_differences(stored.get("encoders", {}), requested["encoders"]),
        *_setting_differences(stored, requested),
    ]
    if differences:
        raise InputError(
            f"{out}: contains features from different encoders or settings ({'; '.join(differences)}); to resume, use "
            "the original encoders and settings; otherwise, choose another folder"
        )


def _encoder_differences(stored: Mapping[str, Any], requested: Mapping[str, Any]) -> Iterator[str]:
    for modality in dict.fromkeys([*stored, *requested]):
        before, now = stored.get(modality, {}), requested.get(modality, {})
        for key in dict.fromkeys([*before, *now]):
            if before.get(key) != now.get(key):
                yield f"{modality} {key}: {_short(before.get(key))} before, {_short(now.get(key))} now"
                break


def _setting_differences(stored: Mapping[str, Any], requested: Mapping[str, Any]) -> Iterator[str]:
    for key, value in requested.items():
        if key != "encoders" and stored.get(key) != value:
            yield f"{key}: {stored.get(key)} before, {value} now"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."


def _finish(out: Path, count: int) -> Encoded:
    """Delete all shards after the first `count`, write `encoded.json`, and return its content."""
    numbers = sorted(int(folder.name) for folder in (out / "shards").iterdir() if folder.name.isdigit())
    for number in numbers:
        if number >= count:
            shutil.rmtree(shard_folder(out, number))
    rows, bad, cut = 0, list[BadItem](), Counter[str]()
    for number in range(count):
        shard = load_shard(shard_folder(out, number))
        rows, bad = rows + len(shard.ids), [*bad, *shard.bad]
        cut.update(shard.cut)
    summary = {"shards": count, "rows": rows, "cut": dict(cut), "bad": [vars(item) for item in bad]}
    write_atomic(out / ENCODED, json.dumps(summary, indent=1, ensure_ascii=False).encode() + b"\n")
    return Encoded(out, rows, tuple(bad), dict(cut), count)
