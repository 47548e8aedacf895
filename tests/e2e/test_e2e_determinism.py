"""The same seed gives the same bytes: in fresh processes, with and without validation, and killed three times."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from omnidistill.distillation import DistilledSet
from small_runs import SMALL, cli, contents, packed, records, without_seconds

SETTINGS = (
    *SMALL,
    *("--set", "distill.iterations=60"),
    *("--set", "distill.num_student_steps=2"),
    *("--set", "distill.validate_every=15"),
    *("--set", "distill.checkpoint_seconds=0.02"),
)


def command(data: Path, run: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "omnidistill", "distill", str(data), *SETTINGS, "-o", str(run), *more]


def fresh(data: Path, run: Path, *more: str) -> None:
    done = subprocess.run(command(data, run, *more), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def kept(run: Path) -> dict[str, Any]:
    """What a run made: heads, experts, set and log; not how long it took."""
    parts = ("heads", "experts", "distilled", "metrics.jsonl", "floor.json")
    return {name: data for name, data in without_seconds(contents(run)).items() if name.split("/")[0] in parts}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set, and an uninterrupted run over it in a process of its own."""
    folder = tmp_path_factory.mktemp("determinism")
    packed(folder / "SET")
    fresh(folder / "SET", folder / "RUN")
    return folder


def test_two_fresh_processes_make_the_same_bytes(made: Path, tmp_path: Path) -> None:
    fresh(made / "SET", tmp_path / "RUN")
    assert contents(tmp_path / "RUN" / "distilled") == contents(made / "RUN" / "distilled")
    assert kept(tmp_path / "RUN") == kept(made / "RUN")


def test_this_process_makes_them_too(made: Path, tmp_path: Path) -> None:
    """Whatever ran before in it."""
    assert cli("distill", made / "SET", *SETTINGS, "-o", tmp_path / "RUN").code == 0
    assert contents(tmp_path / "RUN" / "distilled") == contents(made / "RUN" / "distilled")


def test_another_seed_makes_another_set(made: Path, tmp_path: Path) -> None:
    assert cli("distill", made / "SET", *SETTINGS, "--seed", 1, "-o", tmp_path / "RUN").code == 0
    one, other = (DistilledSet.load(folder / "RUN" / "distilled") for folder in (made, tmp_path))
    assert one.provenance.initial_ids != other.provenance.initial_ids
    assert not torch.equal(one.rows()["a"], other.rows()["a"])


def test_validation_changes_nothing_but_which_set_is_kept(made: Path, tmp_path: Path) -> None:
    """Losses and step sizes of every iteration are the same whether sets are validated often or never."""
    logs = [records(made / "RUN")]
    for every in (0, 7):
        settings = (*SETTINGS, "--set", f"distill.validate_every={every}")
        assert cli("distill", made / "SET", *settings, "-o", tmp_path / str(every)).code == 0
        logs.append(records(tmp_path / str(every)))
    validated = [sum("validation" in record for record in log) for log in logs]
    assert validated == [5, 0, 10]
    seen = ("validation", "validation_steps", "judged", "notes", "best_iteration")
    trained = [[{key: value for key, value in record.items() if key not in seen} for record in log] for log in logs]
    assert trained[0] == trained[1] == trained[2]
    assert len(trained[0]) == 61


def test_evaluating_changes_no_byte_of_the_run(made: Path) -> None:
    before = contents(made / "RUN")
    assert cli("evaluate", made / "RUN", "--json").code == 0
    after = contents(made / "RUN")
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"scores.json", "scores.csv", "cases.json", "report.html"}


def test_killed_at_random_times_and_resumed_is_as_uninterrupted(made: Path, tmp_path: Path) -> None:
    """Three kills -9, some time after the process began to work, and twice after it wrote a checkpoint; then it is
    left to finish.
    """
    run, draw, kills = tmp_path / "RUN", random.Random(), 0
    waits = [draw.uniform(0, 0.3) for _ in range(3)]
    for part, wait in zip(("", "checkpoint", "checkpoint"), waits, strict=True):
        marks = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
        with subprocess.Popen(
            command(made / "SET", run, "--resume"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            while process.poll() is None and not wrote(run / part, marks):
                time.sleep(0.005)
            time.sleep(wait)
            process.kill()
        kills += process.returncode == -signal.SIGKILL
    assert kills > 0, waits
    fresh(made / "SET", run, "--resume")
    assert (run / "metrics.jsonl").read_bytes() == (made / "RUN" / "metrics.jsonl").read_bytes(), waits
    assert contents(run / "distilled") == contents(made / "RUN" / "distilled"), waits
    assert kept(run) == kept(made / "RUN"), waits
    assert not (run / "checkpoint").exists()


def wrote(folder: Path, marks: dict[Path, int]) -> bool:
    """Whether something below the folder is new."""
    try:
        return any(path.stat().st_mtime_ns != marks.get(path) for path in folder.rglob("*"))
    except FileNotFoundError:  # renamed while looked at
        return True
