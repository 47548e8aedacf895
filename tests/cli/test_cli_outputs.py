"""Outputs of commands: nothing is replaced without --force, runs are locked, and dead temporary files are removed."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from omnidistill.io.artifacts import exclusive
from small_runs import SMALL, Outcome, cli, contents, packed

NAMES = ("page.html", "rows.npz", "rows", "items.csv", "SET", "HEADS")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run `RUN` on `DATA`, and input of the other commands."""
    folder = tmp_path_factory.mktemp("made")
    packed(folder / "DATA")
    assert cli("distill", folder / "DATA", *SMALL, "-o", folder / "RUN").code == 0
    features, rows = np.random.default_rng(0).normal(size=(2, 12, 5)), ["id,group,split"]
    np.savez(folder / "features.npz", a=features[0], b=features[1])
    rows += [f"i{row},g{row},{'train' if row < 6 else 'validation' if row < 9 else 'test'}" for row in range(12)]
    (folder / "rows.csv").write_text("\n".join(rows))
    (folder / "media").mkdir()
    (folder / "media" / "items.csv").write_text("id,group,split,text\n" + "".join(f"i{n},g{n},train,a\n" for n in "ab"))
    return folder


def write(made: Path, out: Path, *more: str) -> Outcome:
    """Run the command whose output has the name of `out`. The manifest must be next to its media."""
    media = shutil.copytree(made / "media", out.parent / "media", dirs_exist_ok=True) if out.suffix == ".csv" else made
    commands: dict[str, Callable[[], Outcome]] = {
        "page.html": lambda: cli("report", made / "RUN", "-o", out, *more),
        "rows.npz": lambda: cli("export", made / "RUN", "-o", out, *more),
        "rows": lambda: cli("export", made / "RUN", "-o", out, *more),
        "items.csv": lambda: cli("manifest", media / "items.csv", "-o", out, *more),
        "SET": lambda: cli("pack", "--features", made / "features.npz", "--table", made / "rows.csv", "-o", out, *more),
        "HEADS": lambda: cli("heads", made / "DATA", *SMALL, "-o", out, *more),
    }
    return commands[out.name]()


@pytest.mark.parametrize("name", NAMES)
def test_existing_output_is_replaced_only_with_force(name: str, made: Path, tmp_path: Path) -> None:
    out = tmp_path / name
    assert write(made, out).code == 0
    first, again = contents(tmp_path), write(made, out)
    assert (again.code, again.out, again.err.count("\n")) == (2, "", 1)
    assert str(out) in again.err
    assert "--force" in again.err
    assert contents(tmp_path) == first
    if out.is_dir():
        (out / "mine.txt").write_text("mine")
    else:
        out.write_text("mine")
    assert write(made, out, "--force").code == 0
    assert set(contents(tmp_path)) - set(first) == ({f"{name}/mine.txt"} if out.is_dir() else set())
    assert b"mine" not in [contents(tmp_path)[path] for path in first]


@pytest.mark.parametrize("name", NAMES)
def test_something_else_in_the_place_of_the_output_stays(name: str, made: Path, tmp_path: Path) -> None:
    out = tmp_path / name
    if out.suffix:
        out.mkdir()
        (out / "mine").write_text("mine")
    else:
        out.write_text("mine")
    outcome = write(made, out, "--force")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert (out / "mine" if out.suffix else out).read_text() == "mine"


def test_a_folder_that_is_no_export_is_not_filled(made: Path, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "mine").write_text("mine")
    outcome = write(made, tmp_path / "rows", "--force")
    assert (outcome.code, "contains files that are not an export" in outcome.err) == (2, True)
    assert list(contents(tmp_path)) == ["rows/mine"]


def test_a_report_is_a_page_and_the_page_of_the_run_is_replaced(made: Path, tmp_path: Path) -> None:
    outcome = cli("report", made / "RUN", "-o", tmp_path / "x.pdf")
    assert (outcome.code, ".html" in outcome.err, list(tmp_path.iterdir())) == (2, True, [])
    assert [cli("report", made / "RUN").code for _ in range(2)] == [0, 0]


def test_a_set_that_runs_refer_to_is_replaced_with_a_warning(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "SET"
    assert write(made, out).code == 0
    for name, data in {"A": out, "B": made / "DATA", "C": out}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps({"data": str(data)}))
    monkeypatch.chdir(tmp_path)
    (note,) = (line for line in write(made, out, "--force").out.splitlines() if "refer to" in line)
    assert [name for name in "ABC" if str(tmp_path / name) in note] == ["A", "C"]


def test_printed_commands_can_be_pasted_into_a_shell(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "it's $(a) set" / "SET"
    outcome = write(made, out)
    (following,) = (line[5:] for line in outcome.out.splitlines() if line.startswith("next"))
    assert shlex.split(following)[:3] == ["omnidistill", "distill", str(out)]


@pytest.mark.parametrize("command", ["evaluate", "report", "export", "diagnose"])
def test_a_run_in_use_is_neither_scored_nor_read(command: str, made: Path, tmp_path: Path) -> None:
    words = {"evaluate": (), "report": (), "export": ("-o", tmp_path / "rows.npz"), "diagnose": ("--steps", 1)}[command]
    with exclusive(made / "RUN"):
        outcome = cli(command, made / "RUN", *words)
    assert (outcome.code, outcome.err.count("\n"), list(tmp_path.iterdir())) == (2, 1, [])
    assert f"{made / 'RUN'}: this folder is in use by another process" in outcome.err


def test_a_run_on_a_read_only_disk_needs_no_lock(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(made / "RUN", tmp_path / "RUN", ignore=shutil.ignore_patterns(".lock"))
    monkeypatch.setattr("omnidistill.io.artifacts.locks.os.access", lambda path, mode: False)
    assert cli("export", tmp_path / "RUN", "-o", tmp_path / "rows.npz").code == 0
    assert not (tmp_path / "RUN" / ".lock").exists()


@pytest.mark.parametrize("name", ["page.html", "rows.npz", "rows"])
def test_temporary_files_of_killed_writers_are_removed(name: str, made: Path, tmp_path: Path) -> None:
    (tmp_path / ".omnidistill-temp-0").write_bytes(b"half")
    (tmp_path / ".omnidistill-temp-1").mkdir()
    (tmp_path / ".omnidistill-temp-1" / "part").write_bytes(b"half")
    assert write(made, tmp_path / name).code == 0
    assert os.listdir(tmp_path) == [name]


def test_an_encoding_does_not_replace_a_packed_set(made: Path, tmp_path: Path) -> None:
    assert write(made, tmp_path / "SET").code == 0
    before = contents(tmp_path)
    outcome = cli("encode", made / "media" / "items.csv", "--encoder", "minilm-l6", "-o", tmp_path / "SET")
    assert outcome.code == 2
    assert contents(tmp_path) == before
