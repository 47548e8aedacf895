from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from encoding_problems import Files, Letters, write_manifest
from omnidistill.core.errors import InputError
from omnidistill.encoding.extraction import EncodeSettings, estimate

ENCODERS = {"text": Letters(), "sound": Files()}


def test_it_counts_rows_items_and_bytes_and_writes_nothing(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "media")
    found = estimate(manifest, ENCODERS)
    assert (found.rows, found.items, found.bytes) == (12, 24, 12 * (26 + 4) * (2 + 4))
    assert found.seconds > 0
    views = estimate(manifest, ENCODERS, settings=EncodeSettings(keep_views=True, dtype="float32"), limit=5)
    assert (views.rows, views.items, views.bytes) == (5, 10, 5 * ((26 + 3 * 4) * 4 + (26 + 4) * 4))
    assert {path.name for path in tmp_path.iterdir()} == {"media"}


def test_time_grows_with_rows_and_falls_with_workers(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "media", [b"slow"] * 12)
    manifest = replace(
        manifest, rows=tuple(replace(row, id=f"{row.id} {n}") for n in range(5) for row in manifest.rows)
    )
    sounds = {"sound": Files()}
    one = estimate(manifest, sounds, settings=EncodeSettings(num_workers=1)).seconds
    assert one >= 60 * 0.2
    assert estimate(manifest, sounds, settings=EncodeSettings(num_workers=4)).seconds < one
    assert estimate(manifest, sounds, settings=EncodeSettings(num_workers=1), limit=3).seconds < one


def test_bad_items_are_passed_over_unless_all_are(tmp_path: Path) -> None:
    good = [bytes([n + 1]) for n in range(12)]
    assert estimate(write_manifest(tmp_path / "a", [b"", *good[1:]]), ENCODERS).items == 24
    with pytest.raises(InputError, match=r"none of 4 sampled rows could be encoded; sound: 11\.bin: is empty"):
        estimate(write_manifest(tmp_path / "b", [b""] * 12), ENCODERS)
