"""Measure the cost of a stage by running only a few of its steps.

`Recorder` records the times of all steps. `searched` repeats a search for the best epoch with larger limits, until a
search is complete or takes too long. `with_few_steps` reduces the number of iterations and keeps only one of several
candidate step sizes. This is a rather small one (such as the second of six), because small step sizes need more epochs
than large ones and usually win.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any, TypeVar

from omnidistill.core.settings import Settings
from omnidistill.evaluation.full_training import PATIENCE_EPOCHS
from omnidistill.io.tracking import Progress, SilentProgress

T = TypeVar("T")
S = TypeVar("S", bound=Settings)
_SECONDS, _ITERATIONS = 30.0, 6
_USUAL_EPOCHS = 30  # epochs of a search; few searches on feature sets end earlier


def with_few_steps(settings: S) -> S:
    """Return a copy of the settings for a dry run, with few iterations and only one candidate step size."""
    few: dict[str, Any] = {}
    if (iterations := getattr(settings, "iterations", None)) is not None:
        few["iterations"] = min(iterations, _ITERATIONS)
    if rates := getattr(settings, "learning_rates", ()):
        few["learning_rates"] = (rates[(len(rates) - 1) // 3],)
    return settings.evolve(**few)


def searched(run: Callable[[int], tuple[T, int]], least: int, most: int) -> tuple[T, float, float]:
    """Repeat a search for the best epoch, each time with a larger limit on the number of epochs.

    The repetition ends after a search that stops before its limit, has the limit `most`, or takes more than 15 seconds.

    Args:
        run: function that runs the search up to a limit, and returns its result and the best epoch. The best epoch is 0
            if there is nothing to search for.
        least: first limit.
        most: largest limit.

    Returns:
        The result of the last search, its duration in seconds, and the factor by which a complete search takes longer.
        The factor is 1 if the last search was complete. Otherwise, it assumes that a complete search needs 1.5 times
        as many epochs as the last limit (at least 30, at most `most`).
    """
    limit = min(least, most)
    while True:
        started_at = time.monotonic()
        result, best = run(limit)
        seconds = time.monotonic() - started_at
        if limit == most or best <= max(0, limit - PATIENCE_EPOCHS):
            return result, seconds, 1.0
        if seconds > _SECONDS / 2:
            return result, seconds, min(most, max(_USUAL_EPOCHS, 1.5 * limit)) / limit
        limit = min(most, max(2 * limit, int(limit * _SECONDS / max(seconds, 0.01))))


@dataclass
class Record:
    """The recorded times of one stage of a command, such as the training of experts.

    Attributes:
        label: name of the stage.
        started_at: time of its start.
        calls: (time, number of steps) of each call of `Recorder.advance`.
    """

    label: str
    started_at: float
    calls: list[tuple[float, int]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Seconds from the start of the stage to the last call of `advance`."""
        return self.calls[-1][0] - self.started_at if self.calls else 0.0

    @property
    def epochs(self) -> int:
        """Number of epochs in the stage, counted from the calls of `advance`.

        A search over step sizes calls `advance(0)` after each epoch, and `advance(1)` when it is done with a step size.
        Only its calls of `advance(0)` are epochs. In all other stages, every call of `advance` is an epoch.
        """
        return sum(n == 0 for _, n in self.calls) or len(self.calls)

    @property
    def step_seconds(self) -> float:
        """Median time between two calls of `advance`, in seconds.

        The time before the first call is left out, because it also includes one-time work.
        """
        gaps = [end - start for (start, _), (end, _) in pairwise(self.calls)]
        return median(gaps) if gaps else self.seconds


class Recorder(SilentProgress):
    """Records the times of all stages of a command, and shows the progress on the given display."""

    def __init__(self, shown: Progress) -> None:
        self.shown, self.stages = shown, list[Record]()

    def start(self, total: int, label: str, done: int = 0, seconds: float = 0.0) -> None:
        """Start a stage of the command: record the time, and show the stage on the display."""
        self.shown.start(total, f"dry run: {label}", done, seconds)
        self.stages.append(Record(label, time.monotonic()))

    def advance(self, n: int = 1, **fields: Any) -> None:
        """Record the time of this call, and show the progress."""
        self.stages[-1].calls.append((time.monotonic(), n))
        self.shown.advance(n, **fields)

    def stop(self) -> None:
        """Show on the display that the current stage has ended."""
        self.shown.stop()
