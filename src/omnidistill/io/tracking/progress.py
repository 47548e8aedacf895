"""How far a stage is, shown on stderr: a bar, or plain lines where that is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from omnidistill.io.tracking.metrics_log import JSON

if TYPE_CHECKING:
    from rich.progress import Progress as RichBar


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
            self._say(f"{self._label}: {note}" if self._label else str(note))
            if not (n or fields):
                return
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
