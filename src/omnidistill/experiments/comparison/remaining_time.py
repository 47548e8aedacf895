"""Estimate the remaining time of a comparison from its finished cells, and label progress with the current cell."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from omnidistill.core.json_value import Json
from omnidistill.io.tracking import Progress


class RemainingTime:
    """Estimates the remaining time of a comparison from the mean time of finished cells of the same kind.

    The kind of a cell is the name of its method or baseline. For a kind without a finished cell, the mean time of all
    finished cells is used.

    Args:
        kinds: kind of every cell that will be processed.
    """

    def __init__(self, kinds: Sequence[str]) -> None:
        self._waiting = Counter(kinds)
        self._seconds: dict[str, list[float]] = defaultdict(list)

    def record(self, kind: str, seconds: float) -> None:
        """Record the time of a finished cell."""
        self._waiting[kind] -= 1
        self._seconds[kind].append(seconds)

    def estimate(self) -> str:
        """Return "(about 12 min left)", or an empty string before the first cell is finished."""
        all_seconds = [seconds for known in self._seconds.values() for seconds in known]
        if not all_seconds:
            return ""
        mean = sum(all_seconds) / len(all_seconds)
        total = 0.0
        for kind, count in self._waiting.items():
            known = self._seconds.get(kind)
            total += count * (sum(known) / len(known) if known else mean)
        return f"(about {total / 60:.0f} min left)" if total >= 60 else f"(about {total:.0f} s left)"


class LabelledProgress:
    """A progress display that prefixes every stage with the label of its cell."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress, self._label = progress, label

    def start(self, total: int, label: str, done: int = 0) -> None:
        """Start a stage of the cell."""
        self._progress.start(total, f"{self._label}: {label}", done)

    def advance(self, n: int = 1, **fields: Json) -> None:
        """Count `n` more steps of the stage."""
        self._progress.advance(n, **fields)

    def note(self, line: str) -> None:
        """Show a line of text while the stage is running."""
        self._progress.note(line)

    def stop(self) -> None:
        """End the stage."""
        self._progress.stop()

    def __enter__(self) -> LabelledProgress:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
