"""Measuring with few steps: a `Progress` that records times, and a search that gets as many epochs as fit some seconds.

The settings of a stage are cut in two ways only. A loop gets few iterations, and of several candidate step sizes only
the middle one is tried.
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
_SECONDS, _ITERATIONS = 15.0, 6


def with_few_steps(settings: S) -> S:
    """Return settings with few iterations, and with the middle one of the candidate step sizes, if there are any."""
    few: dict[str, Any] = {}
    if (iterations := getattr(settings, "iterations", None)) is not None:
        few["iterations"] = min(iterations, _ITERATIONS)
    if rates := getattr(settings, "learning_rates", ()):
        few["learning_rates"] = (rates[(len(rates) - 1) // 2],)
    return settings.evolve(**few)


def searched(run: Callable[[int], tuple[T, int]], least: int, most: int) -> tuple[T, float, float]:
    """Run a search for the best epoch with a larger and larger limit, until it ends by itself or takes several seconds.

    `run` takes a limit, first `least` and at last `most`, and returns a result and the best epoch (0: nothing is
    searched). Returned are the last result, its seconds, and the factor for the complete search. A search whose best
    epoch is near the limit is taken to end at the geometric mean of this limit and `most`.
    """
    limit = min(least, most)
    while True:
        started_at = time.monotonic()
        result, best = run(limit)
        seconds = time.monotonic() - started_at
        if limit == most or best <= max(0, limit - PATIENCE_EPOCHS):
            return result, seconds, 1.0
        if seconds > _SECONDS / 2:
            return result, seconds, (most / limit) ** 0.5
        limit = min(most, max(2 * limit, int(limit * _SECONDS / max(seconds, 0.01))))


@dataclass
class Record:
    """A recorded stage: its label, its start, and the time and number of steps of each call of `advance`."""

    label: str
    started_at: float
    calls: list[tuple[float, int]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Seconds from the start of the stage to the last call."""
        return self.calls[-1][0] - self.started_at if self.calls else 0.0

    @property
    def epochs(self) -> int:
        """Number of epochs. A search calls `advance(0)` after each epoch, and `advance(1)` after each step size."""
        return sum(n == 0 for _, n in self.calls) or len(self.calls)

    @property
    def step_seconds(self) -> float:
        """Median seconds between two calls. The first call is left out, because it also includes one-time work."""
        gaps = [end - start for (start, _), (end, _) in pairwise(self.calls)]
        return median(gaps) if gaps else self.seconds


class Recorder(SilentProgress):
    """Records stages and shows their progress on another display."""

    def __init__(self, shown: Progress) -> None:
        self.shown, self.stages = shown, list[Record]()

    def start(self, total: int, label: str, done: int = 0) -> None:
        """Start a stage."""
        self.shown.start(total, f"dry run: {label}", done)
        self.stages.append(Record(label, time.monotonic()))

    def advance(self, n: int = 1, **fields: Any) -> None:
        """Record the call, and show the progress."""
        self.stages[-1].calls.append((time.monotonic(), n))
        self.shown.advance(n, **fields)

    def stop(self) -> None:
        """End the stage."""
        self.shown.stop()
