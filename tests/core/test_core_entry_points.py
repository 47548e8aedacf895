"""Entry points are read again if a package was installed, and only then."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest

from omnidistill.core.entry_points import entry_points


def install(folder: Path, name: str) -> None:
    """Write what an installer leaves of a package with one entry point."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[made.up]\n{name} = {name}.module:thing\n")


def test_an_installed_package_is_found_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "nowhere"), str(tmp_path)])
    assert entry_points("made.up") == ()
    install(tmp_path, "first")
    assert [point.name for point in entry_points("made.up")] == ["first"]
    assert entry_points("another.group") == ()


def test_metadata_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()

    def read(group: str) -> tuple[()]:
        asked.append(group)
        return ()

    monkeypatch.setattr(metadata, "entry_points", read)
    for _ in range(3):
        assert entry_points("asked.once") == ()
    assert asked == ["asked.once"]
