"""The current stage of a run or comparison in a file, so that another process can show it (`report --follow`).

The file is a copy of the progress display. It changes no result, and is deleted when the command has finished.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from omnidistill.core.errors import InputError
from omnidistill.core.json_value import Json
from omnidistill.io.artifacts import JsonContent
from omnidistill.io.tracking.progress import Progress
from omnidistill.io.tracking.stage import Stage

RUNNING = "running.json"
"""Name of the file in the folder of the run or comparison."""

_Seconds = Annotated[float, Field(ge=0, le=1e12)]
_Count = Annotated[int, Field(ge=0, le=2**53)]


class RunningStage(JsonContent):
    """The current stage of a command, as stored in the progress file (running.json).

    Attributes:
        label: name of the stage.
        total: number of steps.
        done: number of finished steps.
        elapsed: time that the finished steps took, in seconds.
        remaining: estimated remaining time of the stage, in seconds; None if it is not known.
        at: when the file was written, in seconds since 1970.
    """

    remedy: ClassVar[str] = "delete this file; it contains only the progress of a command"

    label: str
    total: _Count
    done: _Count
    elapsed: _Seconds
    remaining: _Seconds | None
    at: _Seconds

    @staticmethod
    def read(folder: Path) -> RunningStage | None:
        """Read the progress file in a folder. Return None if there is no such file, or if it is being written."""
        path = folder / RUNNING
        try:
            return RunningStage.from_file(path)
        except InputError:
            return None


class ProgressFile:
    """A progress display that also writes the current stage to a file, at most once per second.

    If the file cannot be written, the command continues without it.

    Args:
        progress: the display that the user sees.
        folder: folder of the run or comparison.
        clock: function that returns the time in seconds.
    """

    def __init__(self, progress: Progress, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress, self._path, self._clock = progress, folder / RUNNING, clock
        self._stage, self._written_at, self._is_written = Stage("", 0, 0, 0, 0.0), 0.0, True

    def start(self, total: int, label: str, done: int = 0, seconds: float = 0.0) -> None:
        """Start a stage; see `Progress.start`."""
        self._stage = Stage.start(total, label, done, seconds, now := self._clock())
        self._write(now)
        self._progress.start(total, label, done, seconds)

    def advance(self, n: int = 1, **fields: Json) -> None:
        """Advance the current stage by `n` steps; see `Progress.advance`."""
        self._stage.done += n
        self._is_written = False
        if (now := self._clock()) - self._written_at >= 1.0:
            self._write(now)
        self._progress.advance(n, **fields)

    def note(self, line: str) -> None:
        """Show a line of text; see `Progress.note`."""
        self._progress.note(line)

    def stop(self) -> None:
        """End the current stage; see `Progress.stop`."""
        if not self._is_written:
            self._write(self._clock())
        self._progress.stop()

    def __enter__(self) -> ProgressFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _write(self, now: float) -> None:
        self._written_at, self._is_written, stage = now, True, self._stage
        content = RunningStage(
            label=stage.label,
            total=stage.total,
            done=stage.done,
            elapsed=max(0.0, stage.elapsed(now)),
            remaining=stage.remaining(now),
            at=time.time(),
        )
        with suppress(OSError):
            self._path.write_text(json.dumps(content.to_json()) + "\n", encoding="utf-8")


@contextmanager
def followable(progress: Progress, folder: Path | None) -> Iterator[Progress]:
    """Yield a display that does what `progress` does, and writes the current stage to a file in `folder`.

    If `folder` is None, yield `progress` itself.

    The file is deleted at the end of the `with` block, unless the block raises an exception.
    """
    if folder is None:
        yield progress
        return
    yield ProgressFile(progress, folder)
    with suppress(OSError):
        (folder / RUNNING).unlink(missing_ok=True)
