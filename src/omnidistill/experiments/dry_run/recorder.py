"""A `Progress` implementation that records the end time of every step in every stage."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from omnidistill.io.tracking import Progress, SilentProgress


@dataclass
class Record:
    """A recorded stage: its start time, and (time, steps, fields) for each call of `advance`."""

    label: str
    started_at: float
    calls: list[tuple[float, int, dict[str, Any]]] = field(default_factory=list)

    @property
    def durations(self) -> list[float]:
        """Seconds between consecutive calls of `advance`; the first value is measured from the start of the stage."""
        return [end - start for start, end in pairwise([self.started_at, *(at for at, *_ in self.calls)])]

    @property
    def seconds(self) -> float:
        """Seconds from the start of the stage to the last call."""
        return sum(self.durations, 0.0)

    @property
    def epochs(self) -> list[int]:
        """Number of epochs of each training run in the stage, derived from the calls of `advance`.

        A stage that searches for a step size has several training runs. It calls `advance(0)` after each epoch and
        `advance(1)` after each run. Any other stage is one training run and calls `advance(1)` after each epoch.
        """
        ends = [number for number, (_, steps, _) in enumerate(self.calls) if steps]
        if len(ends) == len(self.calls):
            return [len(ends)]
        return [end - start - 1 for start, end in pairwise([-1, *ends])]


class Recorder(SilentProgress):
    """Records the stages of a dry run, and shows their progress.

    Args:
        shown: the display that shows the progress to the user.
    """

    def __init__(self, shown: Progress) -> None:
        self.shown, self.stages = shown, list[Record]()

    def start(self, total: int, label: str, done: int = 0) -> None:
        """Start a stage."""
        self.shown.start(total, f"dry run: {label}", done)
        self.stages.append(Record(label, time.monotonic()))

    def advance(self, n: int = 1, **fields: Any) -> None:
        """Record the call, and show the progress."""
        self.stages[-1].calls.append((time.monotonic(), n, fields))
        self.shown.advance(n, **fields)

    def stop(self) -> None:
        """End the stage."""
        self.shown.stop()
