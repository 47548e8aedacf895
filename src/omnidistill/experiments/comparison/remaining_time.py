"""How long a comparison will take: from how long each kind of cell took so far."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from omnidistill.core.json_value import Json
from omnidistill.io.tracking import Progress


class Pace:
    """Mean seconds of each kind of cell, and what is left by them; a kind not seen yet counts as the mean of all."""

    def __init__(self, kinds: Sequence[str]) -> None:
        self._waiting = Counter(kinds)
        self._seconds: dict[str, list[float]] = defaultdict(list)

    def done(self, kind: str, seconds: float) -> None:
        """One cell of this kind took so long."""
        self._waiting[kind] -= 1
        self._seconds[kind].append(seconds)

    def left(self) -> str:
        """`(about 12 min left)`, or nothing before a cell is done."""
        every = [seconds for known in self._seconds.values() for seconds in known]
        if not every:
            return ""
        usual = sum(every) / len(every)
        total = 0.0
        for kind, count in self._waiting.items():
            known = self._seconds.get(kind)
            total += count * (sum(known) / len(known) if known else usual)
        return f"(about {total / 60:.0f} min left)" if total >= 60 else f"(about {total:.0f} s left)"


class Within:
    """The progress of a stage, named by the cell that it is of."""

    def __init__(self, progress: Progress, cell: str) -> None:
        self._progress, self._cell = progress, cell

    def start(self, total: int, label: str, done: int = 0) -> None:
        """Begin a stage of the cell."""
        self._progress.start(total, f"{self._cell}: {label}", done)

    def advance(self, n: int = 1, **fields: Json) -> None:
        """`n` more steps of the stage are done."""
        self._progress.advance(n, **fields)

    def note(self, line: str) -> None:
        """Show a line of the stage."""
        self._progress.note(line)

    def stop(self) -> None:
        """End the stage."""
        self._progress.stop()

    def __enter__(self) -> Within:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
