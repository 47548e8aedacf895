"""`report --follow`: the page of a run or comparison of another process, until it ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from comparison_problems import Cut, Made, tiny
from omnidistill.core.errors import InputError
from omnidistill.experiments.live import follow_report
from omnidistill.io.artifacts import exclusive, in_use
from omnidistill.io.tracking import SilentProgress
from omnidistill.io.tracking.progress_file import RUNNING, ProgressFile, RunningStage
from small_runs import InterruptAfter, cli, features, packed, run_distill, small_config

CONFIG = small_config("distill.iterations=6")


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data SET, and the RUN that was interrupted after three iterations."""
    folder = tmp_path_factory.mktemp("interrupted")
    with pytest.raises(KeyboardInterrupt):
        run_distill(str(packed(folder / "SET")), CONFIG, folder / "RUN", progress=InDistillation(3))
    return folder


class InDistillation(InterruptAfter):
    """Press Ctrl-C after some outer iterations, not in an earlier stage."""

    def start(self, total: int, label: str, done: int = 0, seconds: float = 0.0) -> None:
        self.done = done if label.startswith("distill") else -(10**9)


@pytest.fixture
def run(interrupted: Path, tmp_path: Path) -> Path:
    shutil.copytree(interrupted / "RUN", tmp_path / "RUN")
    return tmp_path / "RUN"


class Script:
    """Replaces `time.sleep`: the actions happen one after the other, each in one second of the follower."""

    def __init__(self, *actions: Callable[[], object]) -> None:
        self._actions = list(actions)

    def __call__(self, seconds: float) -> None:
        self._actions.pop(0)()


def interrupt() -> None:
    raise KeyboardInterrupt


def test_the_page_shows_the_running_run_and_becomes_its_report(interrupted: Path, run: Path) -> None:
    pages: list[str] = []
    lock = ExitStack()
    lock.enter_context(exclusive(run))

    def look() -> None:
        pages.append((run / "report.html").read_text())

    def damage() -> None:  # files that are being written
        with (run / "metrics.jsonl").open("a") as file:
            file.write('{"iteration": 4, "lo')
        (run / RUNNING).write_text('{"label": "dis')

    def finish() -> None:
        look()
        lock.close()
        run_distill(str(interrupted / "SET"), CONFIG, run, resume=True)

    followed = follow_report(run, interval=1.0, sleep=Script(look, damage, finish))
    assert (followed.finished, followed.status, followed.output) == (True, "The run has finished.", run / "report.html")
    assert "Running: distill 10 rows, iteration 3 of 6, about " in pages[0]
    assert "left.</p>" in pages[0]
    assert 'data-seconds="1.0"' in pages[0]
    assert "location.reload()" in pages[0]
    assert "<figure><figcaption>Outer loss</figcaption><svg" in pages[0].replace("\n", "")
    assert "Running: no stage has started." in pages[1]
    report = (run / "report.html").read_text()
    assert "Synthetic instances" in report
    assert "location.reload" not in report
    assert not (run / RUNNING).exists()


def test_a_run_that_died_is_reported_with_code_1(run: Path) -> None:
    outcome = cli("report", run, "--follow")
    assert outcome.code == 1
    last = "It is not finished, and no process is working on it any more. Last state: distill 10 rows, iteration 3 of 6"
    assert f"omnidistill: {run}: {last}" in outcome.err
    page = (run / "report.html").read_text()
    assert last in page
    assert "location.reload" not in page


def test_a_follower_that_is_interrupted_says_so_on_the_page(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnidistill.experiments.live.follow_report", partial(follow_report, sleep=Script(interrupt)))
    with exclusive(run):
        outcome = cli("report", run, "--follow", "--interval", "1")
    assert (outcome.code, in_use(run)) == (130, False)
    page = (run / "report.html").read_text()
    assert "The page is not updated any more" in page
    assert "location.reload" not in page


def test_the_lock_is_only_looked_at(tmp_path: Path) -> None:
    assert not in_use(tmp_path / "absent")
    with exclusive(tmp_path / "RUN"):
        assert in_use(tmp_path / "RUN")
        with pytest.raises(InputError, match="in use"), exclusive(tmp_path / "RUN"):
            pass
    assert not in_use(tmp_path / "RUN")
    with exclusive(tmp_path / "RUN"):
        pass


def test_a_comparison_lists_the_results_so_far(tmp_path: Path) -> None:
    comparison = tiny("herding", "k-center")
    folder = tmp_path / "C"
    made = Made(features(2), tmp_path, None)  # type: ignore[arg-type]
    packed(tmp_path / "SET", made.data)
    with pytest.raises(KeyboardInterrupt):
        made.compare(folder, comparison, progress=Cut("k-center"))
    stage = RunningStage.read(folder)
    assert stage is not None
    assert "k-center" in stage.label
    with exclusive(folder), pytest.raises(KeyboardInterrupt):
        follow_report(folder, sleep=Script(interrupt))
    page = (folder / "report.html").read_text()
    assert all(f'<th scope="row">{name}</th><td>' in page for name in ("zero-shot-s0", "full-s0", "herding-n8-s0"))
    assert '<th scope="row">k-center-n8-s0</th><td>–</td>' in page
    assert not follow_report(folder).finished
    made.compare(folder, comparison, resume=True)
    followed = follow_report(folder)
    assert followed.finished
    assert "comparison.md" in followed.status
    assert "not finished" not in (folder / "report.html").read_text()


def test_results_of_a_crossed_table_and_of_the_paper_are_listed(tmp_path: Path) -> None:
    results = tmp_path / "C/crossed/results"
    results.mkdir(parents=True)
    result = {"recall": {"R@1": 0.125, "R@10": 0.5}, "seconds": 3.0, "settings": {}}
    (results / "anchor-own-seed-1-0123456789ab.json").write_text(json.dumps(result))
    for name in ("cells/hopa-n100-s0-01234567", "baselines/equal-bytes-n100-s0-01234567-5000B"):
        (tmp_path / "C/msrvtt" / name).mkdir(parents=True)
    ProgressFile(SilentProgress(), tmp_path / "C").start(9, "3/9 train")
    with exclusive(tmp_path / "C"), pytest.raises(KeyboardInterrupt):
        follow_report(tmp_path / "C", sleep=Script(interrupt))
    page = (tmp_path / "C/report.html").read_text()
    assert "3/9 train, step 0 of 9" in page
    assert '<th scope="row">anchor-own-seed-1</th><td>12.5</td><td>50.0</td><td>3.0</td>' in page
    assert all(f'<th scope="row">{name}-n100-s0</th><td>–</td>' in page for name in ("hopa", "equal-bytes"))
    assert not follow_report(tmp_path / "C").finished
    (tmp_path / "C" / RUNNING).unlink()
    (tmp_path / "C/paper.json").write_text("{}")
    assert follow_report(tmp_path / "C").finished


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--follow", "--interval", "0.5"), "pass at least 1"),
        (("OTHER", "--follow"), "only one can be followed"),
        (("--interval", "5"), "add --follow"),
        (("--follow", "-o", "page.pdf"), "use the suffix .html"),
    ],
)
def test_arguments_that_do_not_fit(words: tuple[str, ...], message: str, run: Path) -> None:
    outcome = cli("report", run, *words)
    assert (outcome.code, message in outcome.err) == (2, True), outcome.err


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    (tmp_path / "other.txt").touch()
    with pytest.raises(InputError, match="neither a run nor a comparison"):
        follow_report(tmp_path, sleep=Script())
    waits: list[float] = []
    with pytest.raises(InputError, match="neither a run nor a comparison"):
        follow_report(tmp_path / "absent", sleep=waits.append)
    assert sum(waits) == 60


def test_the_progress_file_has_the_stage_and_never_fails(tmp_path: Path) -> None:
    times = iter([0.0, 0.5, 2.0])
    progress = ProgressFile(SilentProgress(), tmp_path, lambda: next(times))
    progress.start(10, "experts", done=2, seconds=4.0)
    progress.advance()  # half a second later, so nothing is written
    stored = json.loads((tmp_path / RUNNING).read_text())
    assert (stored["label"], stored["done"], stored["total"], stored["remaining"]) == ("experts", 2, 10, 16.0)
    progress.advance()
    assert json.loads((tmp_path / RUNNING).read_text())["remaining"] == 9.0  # four steps took six seconds
    ProgressFile(SilentProgress(), tmp_path / "absent").start(1, "heads")
