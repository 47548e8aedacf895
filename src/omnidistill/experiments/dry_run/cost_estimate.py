"""What was foreseen: stages with their steps, seconds and bytes, and the peak of memory."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Stage:
    """steps: how many, of which unit. seconds: of all of them. bytes: of the tensors that it leaves on disk.

    usual: whether validation decides how many steps there are, so that their number is only the usual one.
    """

    name: str
    steps: int
    unit: str
    seconds: float
    bytes: int = 0
    usual: bool = False


@dataclass(frozen=True)
class Foreseen:
    """rows: as many of `what`. peak_bytes: of the rehearsal, which did every stage in full size; None where the system
    does not tell. notes: one line each. elapsed: seconds from begin to end where stages are done side by side, None
    where they come one after the other.
    """

    stages: tuple[Stage, ...]
    rows: int
    peak_bytes: int | None
    notes: tuple[str, ...] = ()
    elapsed: float | None = None
    what: str = "training rows"

    @property
    def seconds(self) -> float:
        """From begin to end."""
        return sum(stage.seconds for stage in self.stages) if self.elapsed is None else self.elapsed

    @property
    def bytes(self) -> int:
        """Of all stages."""
        return sum(stage.bytes for stage in self.stages)

    def content(self) -> dict[str, Any]:
        """Everything, as JSON."""
        totals = {"seconds": self.seconds, "bytes": self.bytes, "peak_bytes": self.peak_bytes}
        stages = [asdict(stage) for stage in self.stages]
        return {"dry_run": True, "rows": self.rows, "stages": stages, **totals, "notes": list(self.notes)}

    def lines(self) -> list[str]:
        """For people: a line a stage, the totals, what to do next."""
        width = max(len(stage.name) for stage in self.stages)
        lines = [f"{self.rows:,} {self.what}; nothing was kept"]
        for stage in self.stages:
            unit = re.sub(r"s\b", "", stage.unit, count=1) if stage.steps == 1 else stage.unit
            steps = f"{'about ' if stage.usual else ''}{stage.steps:,} {unit}"
            lines.append(f"{stage.name:{width}}  {steps:>28}  {_time(stage.seconds):>8}  {_size(stage.bytes):>9}")
        lines.append(f"{'in all':{width}}  {'':28}  {_time(self.seconds):>8}  {_size(self.bytes):>9}")
        if self.peak_bytes:
            lines.append(f"memory  {_size(self.peak_bytes)} at its peak")
        if any(stage.usual for stage in self.stages):
            lines.append("note    validation decides how many steps there are of what is said to be about so many")
        return [*lines, *(f"note    {line}" for line in self.notes), "next    the same command without --dry-run"]


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _size(num_bytes: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:.1f} {unit}"
    return f"{num_bytes} B" if num_bytes else "-"
