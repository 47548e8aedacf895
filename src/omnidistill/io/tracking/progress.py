"""Progress display on stderr: a bar in a terminal, otherwise plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from omnidistill.core.json_value import Json
from omnidistill.core.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress as RichBar


@runtime_checkable
class Progress(Protocol):
    """Shows the progress of the consecutive stages of a run. Use it as a context manager, or call `stop` at the end."""

    def start(self, total: int, label: str, done: int = 0) -> None:
        """Start a stage, and end the previous stage if there is one.

        Args:
            total: number of steps of the stage.
            label: name of the stage.
            done: number of steps that were completed before an interruption.
        """

    def advance(self, n: int = 1, **fields: Json) -> None:
        """Advance the current stage by `n` steps.

        Args:
            n: number of steps since the last call.
            fields: values to show, such as loss=0.65. They replace all previous values.
        """

    def note(self, line: str) -> None:
        """Show a line of text immediately. The line stays visible."""

    def stop(self) -> None:
        """Stop showing the current stage of the run."""

    def __enter__(self) -> Progress: ...

    def __exit__(self, *error: object) -> None: ...


class SilentProgress:
    """A `Progress` object that shows nothing."""

    def start(self, total: int, label: str, done: int = 0) -> None:
        """Do nothing."""

    def advance(self, n: int = 1, **fields: Json) -> None:
        """Do nothing."""

    def note(self, line: str) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""

    def __enter__(self) -> SilentProgress:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


class RichProgress:
    """Shows a progress bar on stderr, or plain lines if stderr is not a terminal.

    Args:
        interval_seconds: minimum time between two plain lines.
        clock: function that returns the time in seconds.
    """

    def __init__(self, interval_seconds: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval, self._clock = interval_seconds, clock
        self._bar: RichBar | None = None
        self._label, self._fields = "", ""
        self._total = self._done = self._resumed = 0
        self._started_at = self._printed_at = 0.0

    def start(self, total: int, label: str, done: int = 0) -> None:
        """Start a stage; see `Progress.start`."""
        self.stop()
        self._label, self._fields = printable(label), ""
        self._total, self._done, self._resumed = total, done, done
        self._started_at = self._printed_at = self._clock()
        if sys.stderr.isatty():
            self._bar = _rich_bar()
            self._bar.add_task(self._label, total=total, completed=done, shown="")
            self._bar.start()

    def advance(self, n: int = 1, **fields: Json) -> None:
        """Advance the current stage by `n` steps; see `Progress.advance`."""
        self._done += n
        if fields:
            self._fields = printable("  ".join(f"{name}={_short(value)}" for name, value in fields.items()))
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], advance=n, shown=self._fields)
        elif (now := self._clock()) - self._printed_at >= self._interval:
            self._printed_at = now
            self._print(self._line(now - self._started_at))

    def note(self, line: str) -> None:
        """Print a line of text above the progress bar."""
        self._print(f"{self._label}: {line}" if self._label else line)

    def stop(self) -> None:
        """End the current stage, if there is one."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __enter__(self) -> RichProgress:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _print(self, line: str) -> None:
        line = printable(line)
        with suppress(OSError):  # if the reader has closed the pipe, the run continues
            if self._bar is None:
                print(line, file=sys.stderr, flush=True)
            else:
                self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)  # above the bar

    def _line(self, elapsed: float) -> str:
        steps = self._done - self._resumed
        remaining = _hms(elapsed * (self._total - self._done) / steps) if steps else "?"
        parts = [f"{self._label} {self._done}/{self._total}", _hms(elapsed), f"ETA {remaining}", self._fields]
        return "  ".join(parts).rstrip()


def _rich_bar() -> RichBar:
    from rich.console import Console  # imported here, so that a command without a bar starts faster
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
        redirect_stdout=False,  # the bar must not capture the output of the command
    )


def _short(value: Json) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _hms(seconds: float) -> str:
    minutes, second = divmod(round(max(seconds, 0.0)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


def shown(progress: Progress | bool | None) -> Progress:
    """Return `progress` if it is an object, a display on stderr if it is True, otherwise a silent display."""
    if isinstance(progress, bool) or progress is None:
        return RichProgress() if progress else SilentProgress()
    return progress
