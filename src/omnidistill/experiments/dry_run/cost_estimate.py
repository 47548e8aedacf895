"""The estimated cost of a command: stages with their steps, seconds and bytes, and the peak memory."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Any

from omnidistill.report.run_table import human_bytes


@dataclass(frozen=True)
class Stage:
    """A stage of a command and its estimated cost.

    Attributes:
        name: name of the stage.
        steps: number of steps.
        unit: unit of the steps, in the plural; "" if the stage has no steps to show.
        seconds: duration.
        bytes: size of the tensors that the stage leaves on disk.
        about: whether `steps` is only a typical number, because validation decides the actual number.
    """

    name: str
    steps: int
    unit: str
    seconds: float
    bytes: int = 0
    about: bool = False

    def line(self, width: int) -> str:
        """Return a table line for this stage of a command: its name (padded to `width`), steps, duration and size."""
        unit = re.sub(r"s\b", "", self.unit, count=1) if self.steps == 1 else self.unit
        steps = f"{'about ' if self.about else ''}{self.steps:,} {unit}" if unit else ""
        return f"{self.name:{width}}  {steps:>28}  {_time(self.seconds):>8}  {_size(self.bytes):>9}"


@dataclass(frozen=True)
class CostEstimate:
    """The estimated cost of a command.

    Attributes:
        stages: the stages, in the order in which they run.
        rows: number of rows of the data; `what` describes these rows.
        peak_bytes: peak memory; None if the system does not report it.
        notes: further remarks, one line each.
        elapsed: seconds from start to end if stages run in parallel; None if they run one after the other.
        what: description of the rows, such as "training rows".
    """

    stages: tuple[Stage, ...]
    rows: int
    peak_bytes: int | None
    notes: tuple[str, ...] = ()
    elapsed: float | None = None
    what: str = "training rows"

    @property
    def seconds(self) -> float:
        """Seconds from start to end."""
        return sum(stage.seconds for stage in self.stages) if self.elapsed is None else self.elapsed

    @property
    def bytes(self) -> int:
        """Size of the tensors that the command leaves on disk, in bytes."""
        return sum(stage.bytes for stage in self.stages)

    def after_start(self, seconds: float) -> CostEstimate:
        """Return a copy with one more stage: the start of Python and PyTorch, which took `seconds`."""
        elapsed = None if self.elapsed is None else self.elapsed + seconds
        start = Stage("start of Python and PyTorch", 1, "", seconds)
        return replace(self, stages=(start, *self.stages), elapsed=elapsed)

    def content(self) -> dict[str, Any]:
        """Return the estimate as JSON values."""
        totals = {"seconds": self.seconds, "bytes": self.bytes, "peak_bytes": self.peak_bytes}
        stages = [asdict(stage) for stage in self.stages]
        return {"dry_run": True, "rows": self.rows, "stages": stages, **totals, "notes": list(self.notes)}

    def lines(self) -> list[str]:
        """Return the estimate as lines of text: the stages, the totals, the notes, and the next command."""
        width = max(len(stage.name) for stage in self.stages)
        total = Stage("total", 0, "", self.seconds, self.bytes)
        lines = [f"{self.rows:,} {self.what}; a dry run writes nothing"]
        lines += [stage.line(width) for stage in (*self.stages, total)]
        if self.peak_bytes:
            lines.append(f"memory  {_size(self.peak_bytes)} at its peak")
        if any(stage.about for stage in self.stages):
            lines.append("note    validation decides the numbers of steps marked 'about'")
        return [*lines, *(f"note    {line}" for line in self.notes), "next    the same command without --dry-run"]


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _size(num_bytes: int) -> str:
    return human_bytes(num_bytes) if num_bytes else "-"
