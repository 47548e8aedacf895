"""The command `transfer`: from packed sets and a run to a table, and one line for data that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from small_runs import cli, packed
from transfer_problems import FEW, new, old

QUICK = ("--seeds", "2", "--options", "mixture,nearest", "--device", "cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packed sets of two encoders, and a run on the first."""
    folder = tmp_path_factory.mktemp("transfer")
    packed(folder / "SET1", old())
    packed(folder / "SET2", new())
    settings = [part for text in FEW for part in ("--set", text)]
    size = ("--size", "6", "--preset", "mixture", "--device", "cpu")
    outcome = cli("distill", folder / "SET1", *size, *settings, "-o", folder / "RUN")
    assert outcome.code == 0, outcome
    return folder


def test_from_a_run_to_a_table(folder: Path) -> None:
    outcome = cli("transfer", folder / "RUN", "--to", folder / "SET2", *QUICK, "-o", folder / "T")
    assert outcome.code == 0, outcome
    title = "**SET2 (a 15, b 17, c 19): recall@1/5/10 in %**"
    for part in (title, "| mixture | ", f"files    {folder / 'T'}/transfer.md"):
        assert part in outcome.out
    tree = json.loads((folder / "T" / "transfer.json").read_text("utf-8"))
    assert (tree["data"], tree["method"], tree["size"]) == (str(folder / "SET1"), "mixture", 6)
    again = cli("transfer", folder / "RUN", "--to", folder / "SET2", *QUICK, "-o", folder / "T")
    assert (again.code, again.err.count("\n")) == (2, 1)
    assert "already exists; choose another folder, or use --force to replace the table" in again.err


def test_data_without_a_modality(folder: Path, tmp_path: Path) -> None:
    packed(tmp_path / "PAIR", new().only(["a", "c"]))
    outcome = cli("transfer", folder / "RUN", "--to", tmp_path / "PAIR", *QUICK, "-o", tmp_path / "T")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "PAIR: has no modality 'b', which the set of the run needs" in outcome.err
    unknown = cli("transfer", folder / "RUN", "--to", folder / "SET2", "--options", "guess", "-o", tmp_path / "T")
    assert (unknown.code, unknown.err.count("\n")) == (2, 1)
    assert "guess" in unknown.err
