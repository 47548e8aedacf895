from __future__ import annotations

import errno
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnidistill.core.errors import InputError, NotFiniteError
from omnidistill.io.tracking import (
    MOST_METRIC,
    JsonlLog,
    MemoryLog,
    MetricsLog,
    MetricsRecord,
    Progress,
    RichProgress,
    SilentProgress,
    read_records,
)
from omnidistill.io.tracking.stage import Stage

NUMBERS = st.integers(-(2**70), 2**70) | st.floats(-MOST_METRIC, MOST_METRIC)
NAMES = st.text().filter(lambda name: name not in ("iteration", "notes"))
FIELDS = st.tuples(
    st.none() | st.integers(0, 10**9),
    st.dictionaries(NAMES, NUMBERS, max_size=4),
    st.lists(st.text(), max_size=2).map(tuple),
)
RECORDS = st.lists(FIELDS, max_size=8)


def record(name: str, value: float) -> MetricsRecord:
    return MetricsRecord(None, {name: value})


def lines(path: Path) -> list[Any]:
    text = path.read_bytes()
    assert text == b"" or text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


@given(RECORDS, st.integers(0, 8), RECORDS)
@settings(deadline=None, max_examples=60)
def test_a_resumed_log_equals_the_uninterrupted_one(
    tmp_path_factory: pytest.TempPathFactory, logged: list[Any], at: int, lost_fields: list[Any]
) -> None:
    records, lost = ([MetricsRecord(*fields) for fields in each] for each in (logged, lost_fields))
    whole, resumed = (tmp_path_factory.getbasetemp() / name for name in ("whole.jsonl", "resumed.jsonl"))
    with JsonlLog(whole) as tracker:
        for each in records:
            tracker.log(each)
    with JsonlLog(resumed) as tracker:
        for each in records[:at]:
            tracker.log(each)
        position = tracker.position()
        for each in lost:  # logged after the checkpoint, then the process died
            tracker.log(each)
    with JsonlLog(resumed, resume_at=position) as tracker:
        assert tracker.position() == position
        for each in records[at:]:
            tracker.log(each)
        assert tracker.position() == resumed.stat().st_size
    assert resumed.read_bytes() == whole.read_bytes()
    assert lines(whole) == [each.to_json() for each in records]
    assert read_records(whole) == records


def test_each_record_is_in_the_file_at_once(tmp_path: Path) -> None:
    with JsonlLog(tmp_path / "m") as tracker:
        for step in range(3):
            tracker.log(record("step", step))
            assert lines(tmp_path / "m")[-1] == {"step": step}
            assert tracker.position() == (tmp_path / "m").stat().st_size


def test_position_syncs_what_was_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    with JsonlLog(tmp_path / "m") as tracker:
        tracker.log(record("a", 1))
        fsync = os.fsync
        monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_size), fsync(handle)))
        assert synced == []
        assert tracker.position() == 9
        assert synced == [9]


def test_opening_syncs_the_name_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.readlink(f"/proc/self/fd/{handle}")))
    with JsonlLog(tmp_path / "m"):
        assert synced == [str(tmp_path)]


def test_without_a_position_the_file_starts_anew(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("an older, longer log\n" * 9)
    for number, resume_at in enumerate((None, 0)):
        with JsonlLog(tmp_path / "m", resume_at) as tracker:
            tracker.log(record("a", number))
        assert lines(tmp_path / "m") == [{"a": number}]


def test_resuming_cuts_a_line_that_the_killed_process_left_unfinished(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b'{"a": 1}\n{"a": 2}\n{"a":')
    with JsonlLog(tmp_path / "m", resume_at=9) as tracker:
        tracker.log(record("b", 1))
    assert lines(tmp_path / "m") == [{"a": 1}, {"b": 1}]


@pytest.mark.parametrize(
    ("content", "resume_at", "message"),
    [
        (b'{"a": 1}\n', 10, "has 9 bytes, but the checkpoint expects at least 10"),
        (b"", 1, "has 0 bytes, but the checkpoint expects at least 1"),
        (b'{"a": 1}\n{"a": 2}\n', 10, "a line ends at byte 10, but none does"),
        (b'{"a": 1}\n', -1, "cannot be opened"),
        (None, 9, "cannot be opened .No such file or directory"),
        (b'{"a": 1\n{"a": 2}\n{"a"', 17, "the metrics log cannot be read"),
    ],
)
def test_a_log_that_cannot_be_resumed_is_left_as_it_is(
    tmp_path: Path, content: bytes | None, resume_at: int, message: str
) -> None:
    path = tmp_path / "m.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"m\.jsonl: .*{message}"):
        JsonlLog(path, resume_at)
    assert (path.read_bytes() if path.exists() else None) == content


def test_a_folder_that_is_missing_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "nowhere" / "m", tmp_path / "file" / "m", tmp_path):
        with pytest.raises(InputError, match="cannot be opened"):
            JsonlLog(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused_and_not_written(tmp_path: Path, value: float) -> None:
    with JsonlLog(tmp_path / "m") as tracker:
        tracker.log(record("a", 1))
        with pytest.raises(NotFiniteError, match=r"in the record .*'loss'.* is NaN, Inf or beyond"):
            tracker.log(MetricsRecord(2, {"loss": value}))
        tracker.log(record("a", 3))
    assert lines(tmp_path / "m") == [{"a": 1}, {"a": 3}]


def test_reading_ignores_entries_that_are_not_numbers(tmp_path: Path) -> None:
    (tmp_path / "m").write_text(
        '{"iteration": 3, "loss": 1.5, "event": "resume", "old": null, "on": true}\n{"judged": 2}\n'
    )
    assert read_records(tmp_path / "m") == [MetricsRecord(3, {"loss": 1.5}), MetricsRecord(None, {"judged": 2})]


@pytest.mark.parametrize(
    "content",
    [
        *(b"{", b"[1]", b"5", b"\xff", b'{"iteration": "x"}', b'{"iteration": 1.5}', b'{"notes": 5}', b"[" * 9999),
        *(b'{"iteration": -1}', b'{"loss": 1, "loss": 2}', b'{"loss": NaN}', b'{"loss": 1e400}', b'{"loss": -2e300}'),
        *(b'{"loss": ' + b"9" * 400 + b"}", b'[["loss", 1]]', b'{"a": ' + b"[" * 99 + b"]" * 99 + b"}"),
    ],
)
def test_an_altered_log_is_one_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(
        InputError, match=r"m: the metrics log cannot be read .*; it was altered, so distil the set again"
    ):
        read_records(tmp_path / "m")


def refused(handle: int, line: bytes, offset: int) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def taken_in_part(handle: int, line: bytes, offset: int, pwrite: Callable[..., int] = os.pwrite) -> int:
    return pwrite(handle, line[:5], offset)


def interrupted(handle: int, line: bytes, offset: int, pwrite: Callable[..., int] = os.pwrite) -> int:
    pwrite(handle, line, offset)
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("fault", "error"), [(refused, InputError), (taken_in_part, InputError), (interrupted, KeyboardInterrupt)]
)
def test_a_line_is_written_whole_or_not_at_all(
    tmp_path: Path, fault: Callable[..., int], error: type[BaseException]
) -> None:
    with JsonlLog(tmp_path / "m") as tracker:
        tracker.log(record("a", 1))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "pwrite", fault)
            with pytest.raises(
                error, match=r"m: cannot be written .No space left on device" if error is InputError else None
            ):
                tracker.log(record("a long one" * 5, 1))
        assert tracker.position() == 9
        assert lines(tmp_path / "m") == [{"a": 1}]
        tracker.log(record("b", 2))
    assert lines(tmp_path / "m") == [{"a": 1}, {"b": 2}]


def test_a_disk_that_does_not_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with JsonlLog(tmp_path / "m") as tracker:
        monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
        with pytest.raises(InputError, match=r"m: cannot be written .Input/output error"):
            tracker.position()


def test_a_closed_tracker_can_be_closed_again_and_holds_no_file(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        tracker = JsonlLog(tmp_path / "m")
        tracker.close()
        tracker.close()
        with pytest.raises(InputError):
            JsonlLog(tmp_path / "m", resume_at=99)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_log_in_memory_has_its_records() -> None:
    log: MetricsLog = MemoryLog()
    with log:
        log.log(record("a", 1.0))
        assert log.position() == 0
    assert log.records() == [record("a", 1.0)]


def test_silent_progress_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    progress: Progress = SilentProgress()
    with progress:
        progress.start(3, "label")
        progress.advance(loss=0.1)
    assert capfd.readouterr() == ("", "")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextmanager
def terminal() -> Iterator[Terminal]:
    """stderr as a terminal; pytest sets its own before each phase, so a fixture could not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", "120")
        patch.setattr(sys, "stderr", stream := Terminal())
        yield stream


def test_without_a_terminal_one_plain_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with RichProgress(clock=clock) as progress:
        progress.start(200, "distil")
        for _ in range(100):
            clock.now += 0.35
            progress.advance(loss=0.6512345, step=7)
    assert capsys.readouterr().err.splitlines() == [
        "distil 29/200  0:00:10  ETA 0:01:00  loss=0.6512  step=7",
        "distil 58/200  0:00:20  ETA 0:00:50  loss=0.6512  step=7",
        "distil 87/200  0:00:30  ETA 0:00:40  loss=0.6512  step=7",
    ]


def test_a_short_stage_says_nothing_and_the_last_fields_stay(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    progress = RichProgress(clock=clock)
    progress.start(2, "quick")
    progress.advance(loss=1.0)
    progress.start(20, "slow")
    progress.advance(4, loss=2.0)
    clock.now += 3700.0
    progress.advance(6)
    progress.stop()
    progress.stop()
    assert capsys.readouterr().err.splitlines() == ["slow 10/20  1:01:40  ETA 1:01:40  loss=2"]
    progress.start(1, "other")
    clock.now += 60.0
    progress.advance()
    assert capsys.readouterr().err.splitlines() == ["other 1/1  0:01:00  ETA 0:00:00"]


def test_a_resumed_stage_estimates_from_its_own_steps(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    progress = RichProgress(clock=clock)
    progress.start(100, "distil", done=80)
    clock.now += 15.0
    progress.advance(0)
    clock.now += 15.0
    progress.advance(10)
    assert capsys.readouterr().err.splitlines() == [
        "distil 80/100  0:00:00  ETA ?",
        "distil 80/100  0:00:15  ETA ?",
        "distil 90/100  0:00:30  ETA 0:00:30",
    ]


def test_more_steps_than_announced_leave_no_negative_time() -> None:
    stage = Stage.start(3, "heads", 0, 0.0, now=0.0)
    stage.done = 4
    assert stage.remaining(8.0) == 0.0


def test_a_resumed_stage_shows_the_remaining_time_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    progress = RichProgress(clock=clock)
    progress.start(100, "distil", done=80, seconds=160.0)
    clock.now += 20.0
    progress.advance(10)
    assert capsys.readouterr().err.splitlines() == [
        "distil 80/100  0:02:40  ETA 0:00:40",
        "distil 90/100  0:03:00  ETA 0:00:20",
    ]
    with terminal() as stream:
        progress.start(100, "distil", done=80, seconds=160.0)
        progress.stop()
    assert "80/100 0:00:00 ETA 0:00:40" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())


def test_a_note_is_a_line_at_once_and_no_field(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with RichProgress(clock=clock) as progress:
        progress.start(20, "distil")
        progress.advance(1, loss=2.0)
        progress.note("iteration 2: back [to] 1")
        assert capsys.readouterr().err == "distil: iteration 2: back [to] 1\n"
        clock.now += 10.0
        progress.advance(9)
    assert capsys.readouterr().err.splitlines() == ["distil 10/20  0:00:10  ETA 0:00:10  loss=2"]


def test_on_a_terminal_a_note_stays_whole_above_the_bar() -> None:
    note = "iteration [2]: " + "word " * 40 + "end"
    with terminal() as stream, RichProgress() as progress:
        progress.start(2, "distil")
        progress.note(note)
        progress.advance(2)
    assert f"distil: {note}\n" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())


def test_a_stream_that_is_gone_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    with RichProgress(interval_seconds=0.0) as progress:
        progress.start(3, "distil")
        progress.note("read me")


def test_on_a_terminal_a_bar_with_label_counts_times_and_fields() -> None:
    with terminal() as stream, RichProgress() as progress:
        progress.start(200, "distil [bold]", done=50)
        progress.advance(50, loss=0.6512345)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    last = [line for line in re.split(r"[\r\n]", shown) if line.strip()][-1]
    assert re.fullmatch(r"distil \[bold\] \S.*100/200 \d+:\d\d:\d\d ETA [-:\d]+ loss=0\.6512\s*", last)
    assert "\x1b[?25h" in stream.getvalue()  # the cursor is given back


def test_a_new_stage_ends_the_bar_of_the_one_before() -> None:
    with terminal() as stream, RichProgress() as progress:
        progress.start(2, "first")
        progress.start(2, "second")
    assert stream.getvalue().count("\x1b[?25l") == stream.getvalue().count("\x1b[?25h") == 2


def test_the_bar_ends_when_the_body_fails() -> None:
    def fail() -> None:
        with RichProgress() as progress:
            progress.start(2, "distil")
            raise KeyError

    with terminal() as stream, pytest.raises(KeyError):
        fail()
    assert stream.getvalue().rstrip().endswith("\x1b[?25h")


def test_what_a_command_prints_is_not_drawn_into_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal() as stream, RichProgress() as progress:
        progress.start(2, "distil")
        print('{"json": 1}')
        progress.advance()
    assert capsys.readouterr().out == '{"json": 1}\n'
    assert "json" not in stream.getvalue()


def test_stdout_stays_clean_and_rich_unloaded_without_a_terminal() -> None:
    code = (
        "import sys; from omnidistill.io.tracking import RichProgress\n"
        "with RichProgress(interval_seconds=0.0) as progress:\n"
        "    progress.start(4, 'distil'); progress.advance(1, loss=0.5); print('result')\n"
        "assert not any(name.split('.')[0] in ('rich', 'torch') for name in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "result\n"
    assert re.fullmatch(r"distil 1/4  \d+:\d\d:\d\d  ETA \d+:\d\d:\d\d  loss=0\.5\n", done.stderr)
