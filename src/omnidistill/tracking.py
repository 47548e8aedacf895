"""What a run tells while it runs: a `Tracker` keeps its numbers on disk, a `Progress` shows on stderr how far it is.

Nothing that computes reads either: turning them on or off changes no bit of a result.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from omnidistill.errors import InputError, NotFiniteError

if TYPE_CHECKING:
    from rich.progress import Progress as RichBar

JSON = None | bool | int | float | str | Sequence[Any] | Mapping[str, Any]


@runtime_checkable
class Tracker(Protocol):
    """Where a run's numbers go, one record a call. Use it in a `with`, or close it."""

    def log(self, record: Mapping[str, JSON]) -> None:
        """Keep one record."""

    def position(self) -> int:
        """How many bytes are kept, for good: a checkpoint holds this, and resuming cuts the log back to it."""

    def close(self) -> None:
        """Log no more."""

    def __enter__(self) -> Tracker: ...

    def __exit__(self, *error: object) -> None: ...


@runtime_checkable
class Progress(Protocol):
    """How far a stage is. Use it in a `with`, or stop it."""

    def start(self, total: int, label: str, done: int = 0) -> None:
        """Begin a stage of `total` steps, `done` of them in an earlier run; the stage before it, if any, ends."""

    def advance(self, n: int = 1, **fields: JSON) -> None:
        """`n` more steps are done; `fields` (loss=0.65) replace those shown. A `note` is a line that should be read:
        it is shown at once and stays.
        """

    def stop(self) -> None:
        """End the stage."""

    def __enter__(self) -> Progress: ...

    def __exit__(self, *error: object) -> None: ...


class NullTracker:
    """Keeps nothing."""

    def log(self, record: Mapping[str, JSON]) -> None:
        """Drop the record."""

    def position(self) -> int:
        """Nothing is kept: 0."""
        return 0

    def close(self) -> None:
        """Nothing to release."""

    def __enter__(self) -> NullTracker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class JsonlTracker:
    """One JSON object a line in `path`, each handed to the system at once.

    `resume_at=None` starts the file anew; a number, which `position()` gave, keeps that many bytes and drops the rest.
    Raises InputError if the file cannot be written, is shorter than `resume_at`, or has no line ending there.
    """

    def __init__(self, path: Path, resume_at: int | None = None) -> None:
        self.path = path
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | (0 if resume_at else os.O_CREAT), 0o666)
            try:
                self._end = self._cut(resume_at or 0)
                _sync_folder(path.parent)
            except BaseException:
                os.close(self._handle)
                raise
        except OSError as error:
            raise InputError(f"{path}: the metrics log cannot be opened ({error.strerror})") from error

    def log(self, record: Mapping[str, JSON]) -> None:
        """Append a record, whole or not at all. Raises NotFiniteError for NaN or Inf, InputError for a full disk."""
        try:
            line = json.dumps(dict(record), allow_nan=False).encode() + b"\n"
        except ValueError as error:
            raise NotFiniteError(f"{self.path}: a number is NaN or Inf in the record {dict(record)}") from error
        try:
            if os.pwrite(self._handle, line, self._end) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._end += len(line)
        except BaseException as error:
            os.ftruncate(self._handle, self._end)
            if isinstance(error, OSError):
                raise InputError(
                    f"{self.path}: cannot be written ({error.strerror}); free space, then resume"
                ) from error
            raise

    def position(self) -> int:
        """Byte offset after the last record, all before it synced to disk. Raises InputError if the disk refuses."""
        try:
            os.fsync(self._handle)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror}); free space, then resume") from error
        return self._end

    def close(self) -> None:
        """Release the file; may be called twice."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> JsonlTracker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _cut(self, end: int) -> int:
        size = os.fstat(self._handle).st_size
        if end > size:
            raise InputError(f"{self.path}: holds {size} bytes, the checkpoint expects {end} or more: lines were lost")
        if end and os.pread(self._handle, 1, end - 1) != b"\n":
            raise InputError(f"{self.path}: no line ends at byte {end}, where the checkpoint was made: it was altered")
        os.ftruncate(self._handle, end)
        return end


class SilentProgress:
    """Shows nothing."""

    def start(self, total: int, label: str, done: int = 0) -> None:
        """Nothing to show."""

    def advance(self, n: int = 1, **fields: JSON) -> None:
        """Nothing to show."""

    def stop(self) -> None:
        """Nothing to end."""

    def __enter__(self) -> SilentProgress:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


class RichProgress:
    """Label, bar, n/total, elapsed and remaining time and the last fields, on stderr.

    Where that is no terminal: one plain line whenever `interval_seconds` have passed since the last.
    """

    def __init__(self, interval_seconds: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval, self._clock = interval_seconds, clock
        self._bar: RichBar | None = None
        self._label, self._fields = "", ""
        self._total = self._done = self._resumed = 0
        self._started = self._said = 0.0

    def start(self, total: int, label: str, done: int = 0) -> None:
        """Begin a stage of `total` steps, `done` of them in an earlier run; the stage before it, if any, ends."""
        self.stop()
        self._label, self._fields = label, ""
        self._total, self._done, self._resumed = total, done, done
        self._started = self._said = self._clock()
        if sys.stderr.isatty():
            self._bar = _rich_bar()
            self._bar.add_task(label, total=total, completed=done, shown="")
            self._bar.start()

    def advance(self, n: int = 1, **fields: JSON) -> None:
        """`n` more steps are done; `fields` replace those shown, a `note` is a line of its own."""
        self._done += n
        if (note := fields.pop("note", None)) is not None:
            self._say(f"{self._label}: {note}")
        if fields:
            self._fields = "  ".join(f"{name}={_short(value)}" for name, value in fields.items())
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], advance=n, shown=self._fields)
        elif (now := self._clock()) - self._said >= self._interval:
            self._said = now
            self._say(self._line(now - self._started))

    def stop(self) -> None:
        """End the stage; may be called twice."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __enter__(self) -> RichProgress:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _say(self, line: str) -> None:
        with suppress(OSError):  # whoever read this has gone; the run goes on
            if self._bar is None:
                print(line, file=sys.stderr, flush=True)
            else:
                self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)  # above the bar

    def _line(self, elapsed: float) -> str:
        here = self._done - self._resumed
        left = _hms(elapsed * (self._total - self._done) / here) if here else "?"
        parts = [f"{self._label} {self._done}/{self._total}", _hms(elapsed), f"ETA {left}", self._fields]
        return "  ".join(parts).rstrip()


def _rich_bar() -> RichBar:
    from rich.console import Console  # imported late: a command without a bar starts faster
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[shown]}", markup=False),
        console=Console(stderr=True),
        redirect_stdout=False,  # what a command prints for a pipe is not the bar's business
    )


def _short(value: JSON) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _hms(seconds: float) -> str:
    minutes, second = divmod(round(max(seconds, 0.0)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot sync a folder
            raise
    finally:
        os.close(handle)
