"""A small comparison that is finished, and a copy of it to spoil."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from comparison_problems import FEW, Made
from small_runs import features


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made.make(tmp_path_factory.mktemp("made"), features(3), FEW)


@pytest.fixture
def copied(made: Made, tmp_path: Path) -> Path:
    """The folder of the comparison, to do with as one likes."""
    return shutil.copytree(made.folder / "C", tmp_path / "C")
