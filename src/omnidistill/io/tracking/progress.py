"""Progress display on stderr: a bar in a terminal, otherwise plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from omnidistill.core.json_value import Json
from omnidistill.core.printable import printable
from omnidistill.io.tracking.stage import Stage

if TYPE_CHECKING:
    from rich.progress import Progress as RichBar


@runtime_checkable
class Progress(Protocol):
    """Shows the progress of the consecutive stages of a run. Use it as a context manager, or call `stop` at the end."""

    def start(self, total: int, label: str, done: int = 0, seconds: float = 0.0) -> None:
        """Start a stage, and end the previous stage if there is one.

        Args:
            total: number of steps of the stage.
            label: name of the stage.
            done: number of steps that were completed before an interruption.
            seconds: time that these steps took, from which the remaining time is estimated; 0 if it is not known.
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

    def start(self, total: int, label: str, done: int = 0, seconds: float = 0.0) -> None:
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
        self._stage, self._fields = Stage("", 0, 0, 0, 0.0), ""
        self._printed_at = 0.0

    def start(self, total: int, label: str, done: int = 0, seconds: float = 0.0) -> None:
        """Start a stage; see `Progress.start`. If it resumes, show immediately what is done and what remains."""
        self.stop()
        self._printed_at = now = self._clock()
        self._stage, self._fields = Stage.start(total, printable(label), done, seconds, now), ""
        if sys.stderr.isatty():
            self._bar = _rich_bar()
            self._bar.add_task(self._stage.label, total=total, completed=done, shown="", eta=self._remaining(now))
            self._bar.start()
        elif done:
            self._print(self._line(now))

    def advance(self, n: int = 1, **fields: Json) -> None:
        """Advance the current stage by `n` steps; see `Progress.advance`."""
        self._stage.done += n
        if fields:
            self._fields = printable("  ".join(f"{name}={_short(value)}" for name, value in fields.items()))
        if self._bar is not None:
            eta = self._remaining(self._clock())
            self._bar.update(self._bar.task_ids[0], advance=n, shown=self._fields, eta=eta)
        elif (now := self._clock()) - self._printed_at >= self._interval:
            self._printed_at = now
            self._print(self._line(now))

    def note(self, line: str) -> None:
        """Print a line of text above the progress bar."""
        self._print(f"{self._stage.label}: {line}" if self._stage.label else line)

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

    def _line(self, now: float) -> str:
        stage = self._stage
        done, elapsed = f"{stage.label} {stage.done}/{stage.total}", _hms(stage.elapsed(now))
        return "  ".join([done, elapsed, f"ETA {self._remaining(now)}", self._fields]).rstrip()

    def _remaining(self, now: float) -> str:
        remaining = self._stage.remaining(now)
        return "?" if remaining is None else _hms(remaining)


def _rich_bar() -> RichBar:
    from rich.console import Console  # imported here, so that a command without a bar starts faster
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA {task.fields[eta]}"),
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
