"""Sets of few bits and several views from the command line: made, told, evaluated beside lines of equal bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from omnidistill.distillation import DistilledSet
from small_runs import SMALL, Outcome, cli, packed, shipped, widths

STORAGE = ("--set", "distill.storage.bits=4", "--set", "distill.storage.views=3", "--set", "distill.batch_size=20")
NUMBERS = 10 * sum(width // 2 + 4 for width in widths(3).values()) + 4 * 30 * (1 + 2 * 2) + sum(widths(3).values())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    folder = tmp_path_factory.mktemp("storage")
    packed(folder / "SET")
    return folder, cli("distill", folder / "SET", *SMALL, *STORAGE, "-o", folder / "RUN")


@pytest.fixture(scope="module")
def scores(made: tuple[Path, Outcome]) -> dict[str, Any]:
    folder, _ = made
    outcome = cli("evaluate", folder / "RUN", "--seeds", "2")
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads((folder / "RUN" / "scores.json").read_text())
    return found


def test_it_tells_stored_rows_and_packed_bytes(made: tuple[Path, Outcome]) -> None:
    folder, outcome = made
    assert outcome.code == 0, outcome.err
    files = shipped(folder / "RUN" / "distilled")
    assert NUMBERS < files < NUMBERS + 2500
    assert f"(10 rows of 4 bits, {files:,} bytes, " in outcome.out
    assert "rank floor of 30 rows" in outcome.out
    found = DistilledSet.load(folder / "RUN" / "distilled")
    assert (found.size, len(found), found.bytes, found.recipe.batch_size) == (10, 30, files, 20)


def test_lines_beside_it_have_its_rows_or_its_bytes(made: tuple[Path, Outcome], scores: dict[str, Any]) -> None:
    files = shipped(made[0] / "RUN" / "distilled")
    assert scores["size"] == 10
    assert scores["bytes"]["distilled"] == scores["distilled"]["bytes"] == files
    assert scores["distilled"]["label"].endswith(", 10 rows")
    assert scores["random"]["label"] == "random, 10 rows"
    assert scores["equal_bytes"]["bytes"] <= files
    assert "low_rank" not in scores  # a rank of 10 restricts no heads that are 8 wide


def test_other_bits_are_refused_with_those_there_are(made: tuple[Path, Outcome], tmp_path: Path) -> None:
    folder, _ = made
    outcome = cli("distill", folder / "SET", *SMALL, "--set", "distill.storage.bits=5", "-o", tmp_path / "RUN")
    assert outcome.code == 2
    assert all(told in outcome.err for told in ("distill.storage.bits", "5", "32", "16", "8", "6", "4", "3", "2"))
    assert not (tmp_path / "RUN").exists()
