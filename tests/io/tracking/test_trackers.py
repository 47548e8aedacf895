"""Trackers with the real packages: they show every step once, and never disturb a run."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from omnidistill.core.errors import InputError
from omnidistill.io.tracking import (
    JsonlLog,
    MetricsLog,
    MetricsRecord,
    TrackedLog,
    Tracker,
    TrackerGroup,
    check_trackers,
    trackers,
)
from plugins import installed
from small_runs import SMALL, InterruptAfter, Loop, NoteRecorder, cli, contents, features, packed, records, small_config

Shown = dict[int, float]
"""The loss by step."""


@pytest.fixture(autouse=True, scope="module")
def _own_places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trackio looks for its place when it is imported, and nothing is to be written at home."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("home")
        patch.setenv("TRACKIO_DIR", str(place / "trackio"))
        patch.setenv("WANDB_CACHE_DIR", str(place / "wandb"))
        patch.setenv("WANDB_CONFIG_DIR", str(place / "wandb"))
        patch.delenv("WANDB_MODE", raising=False)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield


def in_tensorboard(folder: Path, name: str = "loss") -> Shown:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder / "tensorboard"))
    read.Reload()
    found = read.Scalars(name) if name in read.Tags()["scalars"] else []
    return once([(event.step, event.value) for event in found])


def in_wandb(folder: Path, name: str = "loss") -> Shown:
    from wandb.proto import wandb_internal_pb2 as proto

    written: list[Any] = []
    while not any(record.HasField("exit") for record in written):  # its own process writes, and is not waited for
        time.sleep(0.02)
        files = list(folder.glob("wandb/offline-run-*/run-*.wandb"))
        assert len(files) < 2
        written = [proto.Record.FromString(data) for file in files for data in leveldb_records(file.read_bytes())]
    found = []
    for record in written:
        items = {item.nested_key[0] if item.nested_key else item.key: item for item in record.history.item}
        if name in items:
            found.append((int(items["_step"].value_json), float(items[name].value_json)))
    return once(found)


def leveldb_records(data: bytes) -> Iterator[bytes]:
    """The records of a log in LevelDB's format: blocks of 32 kB, each part with checksum, length and type; 7 bytes of
    a header come first.
    """
    at, parts = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def in_trackio(folder: Path, name: str = "loss") -> Shown:
    from trackio.sqlite_storage import SQLiteStorage

    place = folder.resolve()
    run = f"{place.name}-{hashlib.sha256(str(place).encode()).hexdigest()[:8]}"
    rows = SQLiteStorage.get_logs("omnidistill", run)
    return once([(row["step"], row[name]) for row in rows if name in row])


def in_mlflow(folder: Path, name: str = "loss") -> Shown:
    from mlflow import MlflowClient

    client = MlflowClient((folder / "mlruns").resolve().as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("omnidistill").experiment_id])
    assert (run.info.run_name, run.info.status) == (folder.name, "FINISHED")
    return once([(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)])


def once(found: list[tuple[int, float]]) -> Shown:
    assert len(dict(found)) == len(found), f"a step is there twice: {found}"
    return dict(found)


READ: dict[str, Callable[..., Shown]] = {
    "tensorboard": in_tensorboard,
    "wandb": in_wandb,
    "trackio": in_trackio,
    "mlflow": in_mlflow,
}


def opened(folder: Path, names: list[str], resume_at: int | None = None, told: list[str] | None = None) -> TrackedLog:
    notes = [] if told is None else told
    return TrackedLog(JsonlLog(folder / "m.jsonl", resume_at), TrackerGroup(names, folder, {"seed": 0}, notes.append))


def losses(steps: range) -> Shown:
    return {step: 1 / 2**step for step in steps}


def log(tracker: MetricsLog, steps: range) -> None:
    for step, loss in losses(steps).items():
        tracker.log(MetricsRecord(step, {"loss": loss}, ("text is for the log alone",)))


def test_every_tracker_is_tried() -> None:
    assert tuple(READ) == trackers.names()


@pytest.mark.parametrize("name", READ)
def test_a_resumed_run_has_every_step_once(tmp_path: Path, name: str) -> None:
    told: list[str] = []
    with opened(tmp_path, [name], told=told) as tracker:
        log(tracker, range(3))
        position = tracker.position()
        log(tracker, range(3, 6))  # after the checkpoint, then the process died
    assert READ[name](tmp_path) == losses(range(6))
    with opened(tmp_path, [name], position, told) as tracker:
        log(tracker, range(3, 8))
    assert READ[name](tmp_path) == losses(range(8))
    with opened(tmp_path, [name], None, told) as tracker:  # the folder is used for another run
        log(tracker, range(2))
    assert READ[name](tmp_path) == losses(range(2))
    assert told == []


@pytest.mark.parametrize("name", READ)
def test_a_tracker_added_later_shows_earlier_steps(tmp_path: Path, name: str) -> None:
    with opened(tmp_path, []) as tracker:
        log(tracker, range(3))
        position = tracker.position()
    with opened(tmp_path, [name], position) as tracker:
        log(tracker, range(3, 5))
    assert READ[name](tmp_path) == losses(range(5))


def test_mlflow_continues_the_run_in_another_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "other/mlruns").as_uri())
    told: list[str] = []
    (tmp_path / "other").mkdir()
    with opened(tmp_path / "other", ["mlflow"], told=told) as tracker:
        log(tracker, range(3))
        position = tracker.position()
    with opened(tmp_path / "other", ["mlflow"], position, told) as tracker:
        log(tracker, range(3, 5))
    assert in_mlflow(tmp_path / "other") == losses(range(5))
    assert told == []


class Failing:
    """A tracker that fails in one of its three methods."""

    last_step = -1

    def __init__(self, at: str) -> None:
        self.at, self.steps = at, 0
        self._fail("open")

    def log(self, step: int, values: Any) -> None:
        self.steps += 1
        self._fail("log")

    def close(self) -> None:
        self._fail("close")

    def _fail(self, at: str) -> None:
        if self.at == at:
            raise ConnectionError("no\nsuch host")


@pytest.mark.parametrize("at", ["open", "log", "close"])
def test_a_failing_tracker_is_reported_once_and_the_others_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    monkeypatch.setitem(trackers._loaded, "wandb", lambda folder, settings: Failing(at))
    told: list[str] = []
    with opened(tmp_path, ["wandb", "tensorboard"], told=told) as tracker:
        log(tracker, range(4))
    assert told == ["tracker wandb failed (ConnectionError: no such host); the run continues without it"]
    assert [record["loss"] for record in log_of(tmp_path)] == list(losses(range(4)).values())
    assert in_tensorboard(tmp_path) == losses(range(4))


def log_of(folder: Path) -> list[dict[str, Any]]:
    (folder / "m.jsonl").rename(folder / "metrics.jsonl")
    return records(folder)


def test_a_tracker_continues_after_its_last_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = Failing("never")
    view.last_step = 2
    monkeypatch.setitem(trackers._loaded, "wandb", lambda folder, settings: view)
    with opened(tmp_path, ["wandb"]) as tracker:
        log(tracker, range(5))
    assert view.steps == 2


def test_trackers_do_not_change_a_run(tmp_path: Path) -> None:
    loop, config, told = Loop.make(tmp_path / "experts"), small_config("distill.iterations=6"), NoteRecorder()
    loop.distill(tmp_path / "plain", config)
    loop.distill(tmp_path / "tracked", config, trackers=list(READ), progress=told)
    kept = {name: data for name, data in contents(tmp_path / "tracked").items() if name in contents(tmp_path / "plain")}
    assert kept == contents(tmp_path / "plain")
    assert told.notes == []
    logged = {record["iteration"]: record["loss"] for record in records(tmp_path / "plain") if "loss" in record}
    for name, read in READ.items():
        assert read(tmp_path / "tracked") == pytest.approx(logged), name


def test_trackers_continue_an_interrupted_run(tmp_path: Path) -> None:
    loop, config = Loop.make(tmp_path / "experts"), small_config("distill.iterations=6")

    with pytest.raises(KeyboardInterrupt):
        loop.distill(tmp_path / "run", config, trackers=["tensorboard"], progress=InterruptAfter(3))
    loop.distill(tmp_path / "run", config, trackers=["tensorboard", "trackio"], resume=True)
    logged = {record["iteration"]: record["loss"] for record in records(tmp_path / "run") if "loss" in record}
    assert set(logged) == set(range(1, 7))
    assert in_tensorboard(tmp_path / "run") == pytest.approx(logged)
    assert in_trackio(tmp_path / "run") == pytest.approx(logged)


def test_failing_trackers_do_not_change_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, config, told = Loop.make(tmp_path / "experts"), small_config("distill.iterations=3"), NoteRecorder()
    loop.distill(tmp_path / "plain", config)
    for name, at in zip(READ, ("open", "log", "close", "close"), strict=True):
        monkeypatch.setitem(trackers._loaded, name, lambda folder, settings, at=at: Failing(at))
    loop.distill(tmp_path / "failed", config, trackers=list(READ), progress=told)
    assert contents(tmp_path / "failed") == contents(tmp_path / "plain")
    assert len(told.notes) == 4


def test_names_and_packages_are_checked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        InputError, match=r"tracker 'wand' is not installed; installed: tensorboard, wandb, trackio, mlflow; did you"
    ):
        check_trackers(["wand"])
    monkeypatch.setitem(sys.modules, "trackio", None)
    done = cli("distill", packed(tmp_path / "SET"), *SMALL, "--tracker", "trackio", "-o", tmp_path / "RUN")
    assert done.code == 2
    assert "pip install 'omnidistill[trackio]'" in done.err
    assert not (tmp_path / "RUN").exists()


def test_a_method_without_iterations_accepts_no_tracker(tmp_path: Path) -> None:
    arguments = ("--preset", "herding", "--set", "heads.width=8", "--size", 8, "--tracker", "tensorboard")
    done = cli("distill", packed(tmp_path / "SET"), *arguments, "-o", tmp_path / "RUN")
    assert done.code == 2
    assert (
        "tracker 'tensorboard': method 'herding' (kind select) has no iterations to record; omit the tracker"
        in done.err
    )


class Recorder:
    """A tracker of another package."""

    runs: ClassVar[list[Recorder]] = []
    last_step = -1

    def __init__(self, folder: Path, settings: Any) -> None:
        self.folder, self.settings, self.closed = folder, settings, False
        self.values: Shown = {}
        self.runs.append(self)

    def log(self, step: int, values: Any) -> None:
        if "loss" in values:
            self.values[step] = values["loss"]

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("how", ["python", "entry point"])
def test_trackers_of_other_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(Recorder, "runs", [])
    with installed(trackers, {"recorder": f"{__name__}:Recorder"} if how == "entry point" else {}):
        if how == "python":
            trackers.register("recorder")(Recorder)
        assert trackers.names() == (*READ, "recorder")
        check_trackers(["recorder", "tensorboard"])
        loop = Loop.make(tmp_path / "experts")
        loop.distill(tmp_path / "run", small_config("distill.iterations=3"), trackers=["recorder"])
        (run,) = Recorder.runs
        assert isinstance(run, Tracker)
        assert (run.folder, run.settings["distill"]["iterations"], run.closed) == (tmp_path / "run", 3, True)
        logged = {record["iteration"]: record["loss"] for record in records(tmp_path / "run") if "loss" in record}
        assert run.values == logged
    assert "recorder" not in trackers


def test_an_object_that_is_no_tracker_is_reported(tmp_path: Path) -> None:
    told: list[str] = []
    with installed(trackers, {"path": "pathlib:PurePath"}), opened(tmp_path, ["path"], told=told) as tracker:
        log(tracker, range(2))
    assert len(told) == 1
    assert "failed" in told[0]


def test_the_registry_imports_no_tracker() -> None:
    code = """if True:
        import sys
        from omnidistill.io.tracking import trackers
        print(trackers.names(), sorted({"torch", "wandb", "trackio", "tensorboard", "mlflow"} & set(sys.modules)))
        print([name for name in sys.modules if name.endswith((".wandb", ".trackio", ".tensorboard", ".mlflow"))])
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "('tensorboard', 'wandb', 'trackio', 'mlflow') []\n[]\n"


def test_experts_log_their_distance_from_the_start(tmp_path: Path) -> None:
    arguments = (packed(tmp_path / "SET", features(2)), *SMALL, "--tracker", "tensorboard")
    for _ in range(2):  # a buffer that is there already is shown again
        done = cli("experts", *arguments, "-o", tmp_path / "E")
        assert done.code == 0, done.err
        far = in_tensorboard(tmp_path / "E", "distance_from_start/a")
        assert far[0] == 0
        assert all(far[epoch] > 0 for epoch in range(1, len(far)))
        assert len(far) == 4


def test_the_mode_of_wandb_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with opened(tmp_path, ["wandb"]) as tracker:
        log(tracker, range(2))
    assert not (tmp_path / "wandb").exists()
