"""Commands that crash at every step by which bytes reach the disk, in this process; `make torture` tries all of them.

See torture/crash_trials.py.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from disk_steps import Killed, Steps, disk
from small_runs import SMALL, Outcome, cli, contents, packed

COMMANDS = {
    "pack": ("pack", "--features", "f.npz", "--table", "t.csv", "-o", "OUT/SET"),
    "report": ("report", "RUN", "-o", "OUT/page.html"),
    "export": ("export", "RUN", "-o", "OUT/rows.npz"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished run, and input for `pack`, in the current folder."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        packed(folder / "SET")
        assert cli("distill", "SET", *SMALL, "-o", "RUN").code == 0
        draw, splits = np.random.default_rng(0).normal(size=(2, 6, 5)), ("train", "validation", "test") * 2
        np.savez(folder / "f.npz", a=draw[0], b=draw[1])
        (folder / "t.csv").write_text("id,split\n" + "\n".join(f"i{row},{split}" for row, split in enumerate(splits)))
        yield folder


def run(name: str, steps: Steps) -> Outcome:
    with disk(steps):
        return cli(*COMMANDS[name])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_crashed_at_any_step_is_repeated(name: str, made: Path) -> None:
    out, counted = made / "OUT", Steps()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    assert run(name, counted).code == 0
    expected = contents(out)
    assert len(counted.log) > 4
    for step in range(len(counted.log)):
        shutil.rmtree(out)
        out.mkdir()
        with pytest.raises(Killed):
            run(name, Steps(step))
        again = run(name, Steps())
        if again.code:  # the output was complete
            assert "--force" in again.err
        assert {path: data for path, data in contents(out).items() if "-temp-" not in path} == expected, step
        assert again.code or contents(out) == expected


def test_the_table_counts_trials_and_a_miss_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    program, trial = (importlib.import_module(f"torture.{name}") for name in ("run", "trial"))
    found = [trial.Trial("kill: 1", True, ""), trial.Trial("kill: 2", False, "was lost"), trial.Trial("fuzz", True, "")]
    monkeypatch.setattr(program, "modules", lambda: ["some"])
    monkeypatch.setattr(program.importlib, "import_module", lambda _: SimpleNamespace(trials=lambda _: found))
    assert program.main(["--processes", "1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "FAILED kill: 2: was lost"
    expected = [["kill", "2", "1", "0"], ["fuzz", "1", "1", "0"], ["all", "3", "2", "0"]]
    assert [line.split() for line in lines[2:-1]] == expected
    assert lines[-1] == "0 minutes, 1 at a time"
    found[1] = trial.Trial("kill: 2", True, "")
    assert program.main(["--processes", "1", "--markdown", str(tmp_path / "table.md")]) == 0
    assert (tmp_path / "table.md").read_text().splitlines() == [
        "| trials | tried | passed | seconds |",
        "|---|---:|---:|---:|",
        "| kill | 2 | 2 | 0 |",
        "| fuzz | 1 | 1 | 0 |",
        "| all | 3 | 3 | 0 |",
        "",
        "0 minutes, 1 at a time",
    ]
