"""Encode: rows -> prepared items -> features, shard by shard; what is finished is never made again.

    OUT/encoders.json   written first: fingerprints of the encoders and the settings; others are refused afterwards;
                        and the licences of their weights
    OUT/shards/NNNNN    one a shard, see `shards`; kept on resuming if it was made from the same rows
    OUT/encoded.json    written last: how many shards there are, how many rows were kept, and what was bad or cut

Memory holds one shard's features and a few batches of prepared items, however many rows there are. The result does not
depend on where a run was cut: what shares a batch never leaves its shard.
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
from omnidistill.encoding.extraction.settings import EncodeSettings, check_encoders, digest_of
from omnidistill.encoding.extraction.shard_task import Making, Part
from omnidistill.encoding.extraction.shards import BadItem, is_made, load_shard, shard_folder
from omnidistill.encoding.extraction.workers import Bad, Job, Prepared
from omnidistill.encoding.manifests.manifest import Manifest, Row
from omnidistill.io.artifacts import exclusive, read_json, write_atomic
from omnidistill.io.tracking import Progress, SilentProgress

ENCODERS, ENCODED = "encoders.json", "encoded.json"


@dataclass(frozen=True)
class Encoded:
    """What was encoded.

    rows: of which every item was good. bad: the other rows' bad items. cut: {modality: how many of the rows have an
    item that was longer than its encoder reads}. shards: how many.
    """

    folder: Path
    rows: int
    bad: tuple[BadItem, ...]
    cut: dict[str, int]
    shards: int

    def lines(self, most: int = 10) -> list[str]:
        """The report for people, one fact a line; up to `most` bad items are named."""
        lost = len({item.id for item in self.bad})
        told = [f"bad    {item.id}, {item.modality}: {item.why}" for item in self.bad[:most]]
        more = [f"       and {len(self.bad) - most} more, see {self.folder / ENCODED}"] if len(self.bad) > most else []
        cut = [f"cut    {name}: of {n:,} items, longer than is read, the end is lost" for name, n in self.cut.items()]
        return [f"rows   {self.rows:,} encoded, {lost:,} left out", *told, *more, *cut]


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
    """Encode these modalities of every row into shards in `out`; continues an interrupted run to the same bits.

    encoders: {modality: encoder}. limit: only so many rows, from the first on. A row with a bad item is left out and
    named. Rows may be added at the end of the manifest between runs: shards that they do not change are kept. engine:
    where shards are made, in this process by default; the bits are the same.

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
        with progress:
            items = len(rows) * len(encoders)
            progress.start(items, "encode", items - sum(len(part.rows) for part in missing) * len(encoders))
            _make_all(Making(manifest, encoders, settings), missing, engine or LocalEngine(), _teller(progress))
        return _finish(out, len(parts))


def is_begun(out: Path) -> bool:
    """Whether `encode` was ever begun in this folder."""
    return (out / ENCODERS).is_file()


def _make_all(making: Making, parts: Sequence[Part], engine: Engine, told: Callable[[int, int], None]) -> None:
    """Here the next shard's items are prepared while this one is encoded; elsewhere shards are tasks of their own."""
    if engine.here:
        with making.preparation:
            prepared = _told(making.prepared(parts), told)
            for part in parts:
                making.shard(part, prepared)
        return
    with closing(engine.run(making, parts, helpers=making.settings.num_workers)) as finished:
        for done in finished:
            told(len(parts[done.number].rows) * len(making.encoders), done.result())


def _parts(
    manifest: Manifest, rows: Sequence[Row], modalities: Iterable[str], out: Path, shard_rows: int
) -> Iterator[Part]:
    for number, begin in enumerate(range(0, len(rows), shard_rows)):
        these = rows[begin : begin + shard_rows]
        yield Part(number, shard_folder(out, number), these, digest_of(manifest, these, modalities))


def _told(prepared: Iterable[tuple[Job, Prepared]], told: Callable[[int, int], None]) -> Iterator[tuple[Job, Prepared]]:
    """The same, with each told of."""
    for job, found in prepared:
        told(1, isinstance(found, Bad))
        yield job, found


def _teller(progress: Progress) -> Callable[[int, int], None]:
    """Tells the progress that so many more items are done, and so many of them bad."""
    begun, done, bad = time.monotonic(), 0, 0

    def told(items: int, bad_items: int) -> None:
        nonlocal done, bad
        done, bad = done + items, bad + bad_items
        rate = done / max(time.monotonic() - begun, 1e-9)
        progress.advance(items, items_per_s=rate, **({"bad": bad} if bad else {}))

    return told


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
        told = {**wanted, "licences": licences_of(encoders)}
        write_atomic(path, json.dumps(told, indent=1, ensure_ascii=False).encode() + b"\n")
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
    rows, bad, cut = 0, list[BadItem](), Counter[str]()
    for number in range(count):
        shard = load_shard(shard_folder(out, number))
        rows, bad = rows + len(shard.ids), [*bad, *shard.bad]
        cut.update(shard.cut)
    told = {"shards": count, "rows": rows, "cut": dict(cut), "bad": [vars(item) for item in bad]}
    write_atomic(out / ENCODED, json.dumps(told, indent=1, ensure_ascii=False).encode() + b"\n")
    return Encoded(out, rows, tuple(bad), dict(cut), count)
