"""A `Progress` that times the steps of every stage, and ends a stage whose budget of steps or seconds is used up."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from omnidistill.io.tracking import Progress, SilentProgress

HEADS, CHOICE, EXPERTS = "heads", "choose the experts' training", "experts"
"""Labels of stages."""

_BUDGETS = {HEADS: (math.inf, 10.0), CHOICE: (math.inf, 10.0), EXPERTS: (2, math.inf)}
"""Steps and seconds after which a stage ends; the settings of a dry run limit the others."""


class EnoughError(Exception):
    """Ends a stage whose budget is used up; the argument is its label."""


@dataclass
class TimedStage:
    """A stage: when it started, and (time, steps, fields) of every `advance`."""

    label: str
    total: int
    started_at: float
    ticks: list[tuple[float, int, dict[str, Any]]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Number of finished steps."""
        return sum(n for _, n, _ in self.ticks)

    @property
    def seconds(self) -> float:
        """Seconds until the last step."""
        return self.ticks[-1][0] - self.started_at if self.ticks else 0.0

    @property
    def intervals(self) -> list[float]:
        """Seconds of every finished step."""
        times = [self.started_at, *(at for at, n, _ in self.ticks if n)]
        return [end - start for start, end in pairwise(times)]

    def seconds_of(self, steps: int) -> float:
        """Return the seconds of so many steps; those that are missing take as long as the last ones."""
        usual = self.intervals[len(self.intervals) // 2 :]
        return self.seconds + (steps - self.steps) * sum(usual) / max(len(usual), 1)


class StageClock(SilentProgress):
    """Times stages and shows their progress.

    Args:
        shown: what shows the progress to the user.
    """

    def __init__(self, shown: Progress) -> None:
        self.stages: list[TimedStage] = []
        self.shown: Progress = shown
        self._seconds = defaultdict[str, float](float)

    def start(self, total: int, label: str, done: int = 0) -> None:
        """Start a stage."""
        self.shown.start(total, f"dry run: {label}", done)
        self.stages.append(TimedStage(label, total, time.monotonic()))

    def advance(self, n: int = 1, **fields: Any) -> None:
        """Count steps.

        Raises:
            EnoughError: the budget of all stages of this label is used up, and this one has more steps.
        """
        self.shown.advance(n, **fields)
        stage, before = self.stages[-1], self.stages[-1].seconds
        stage.ticks.append((time.monotonic(), n, fields))
        self._seconds[stage.label] += stage.seconds - before
        steps, seconds = _BUDGETS.get(stage.label, (math.inf, math.inf))
        if stage.steps < stage.total and (stage.steps >= steps or self._seconds[stage.label] > seconds):
            raise EnoughError(stage.label)

    def stop(self) -> None:
        """End the stage."""
        self.shown.stop()
