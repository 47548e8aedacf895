from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from encoding_problems import Files, Letters, write_manifest
from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.encoder import Item
from omnidistill.encoding.extraction import EncodeSettings, estimate
from omnidistill.encoding.extraction.workers import Preparation

estimating = sys.modules[estimate.__module__]  # the package has a function of this name
ENCODERS = {"text": Letters(), "sound": Files()}


def test_it_counts_rows_items_and_bytes_and_writes_nothing(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "media")
    found = estimate(manifest, ENCODERS)
    assert (found.rows, found.items, found.bytes) == (12, 24, 12 * (26 + 4) * (2 + 4))
    assert found.seconds > 0
    views = estimate(
        manifest, ENCODERS, settings=EncodeSettings(keep_views=True, dtype="float32", num_workers=0), limit=5
    )
    assert (views.rows, views.items, views.bytes) == (5, 10, 5 * ((26 + 3 * 4) * 4 + (26 + 4) * 4))
    assert {path.name for path in tmp_path.iterdir()} == {"media"}


class Clock:
    """The time that only `Timed` spends, so that an estimate does not depend on the machine."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def process_time(self) -> float:
        return 0.0


CLOCK = Clock()


class Timed(Files):
    """Prepares an item in 200 ms and encodes a batch in 10 ms."""

    def prepare(self, item: Item) -> Tensor:
        CLOCK.now += 0.2
        return super().prepare(item)

    def encode(self, batch: Tensor) -> Tensor:
        CLOCK.now += 0.01
        return super().encode(batch)


def test_time_grows_with_rows_and_falls_with_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimating, "time", CLOCK)
    manifest = write_manifest(tmp_path / "media")
    manifest = replace(
        manifest, rows=tuple(replace(row, id=f"{row.id} {n}") for n in range(5) for row in manifest.rows)
    )
    sounds = {"sound": Timed()}
    for workers, limit, seconds in ((2, None, 60 * 0.1), (1, 3, 3 * 0.2)):
        found = estimate(manifest, sounds, settings=EncodeSettings(num_workers=workers), limit=limit)
        assert found.seconds == pytest.approx(seconds)
    alone = estimate(manifest, sounds, settings=EncodeSettings(num_workers=0, batch_size=10))
    assert alone.seconds == pytest.approx(60 * (0.2 + 0.001))


def test_the_start_of_workers_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimating, "time", CLOCK)

    def starting(self: Preparation) -> Preparation:
        CLOCK.now += 5.0
        return enter(self)

    enter = Preparation.__enter__
    monkeypatch.setattr(Preparation, "__enter__", starting)
    manifest = write_manifest(tmp_path / "media")
    found = estimate(manifest, {"sound": Timed()}, settings=EncodeSettings(num_workers=1))
    assert found.seconds == pytest.approx(5.0 + 12 * 0.2)


def test_bad_items_are_passed_over_unless_all_are(tmp_path: Path) -> None:
    good = [bytes([n + 1]) for n in range(12)]
    here = EncodeSettings(num_workers=0)
    assert estimate(write_manifest(tmp_path / "a", [b"", *good[1:]]), ENCODERS, settings=here).items == 24
    with pytest.raises(
        InputError,
        match=r"none of the 4 sampled rows could be encoded; .* \(last error, in modality 'sound': 11\.bin: is empty",
    ):
        estimate(write_manifest(tmp_path / "b", [b""] * 12), ENCODERS)
