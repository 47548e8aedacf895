"""The progress of a comparison: an estimate of the remaining time, and the name of the current method or baseline."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from omnidistill.core.json_value import Json
from omnidistill.io.tracking import Progress
from omnidistill.io.tracking.stage import time_left


class RemainingTime:
    """Estimates the remaining time of a comparison.

    A cell is one result to compute: a method with one size and one seed, or a baseline. The estimate for a cell is the
    mean time of the finished cells of the same method or baseline. If there are none, it is the mean time of all
    finished cells.

    Args:
        kinds: the kind of every cell to process, which is the name of its method or baseline.
        known: (kind, seconds) of the cells that were finished before this comparison resumed.
    """

    def __init__(self, kinds: Sequence[str], known: Iterable[tuple[str, float]] = ()) -> None:
        self._waiting = Counter(kinds)
        self._seconds: dict[str, list[float]] = defaultdict(list)
        for kind, seconds in known:
            self._seconds[kind].append(seconds)

    def record(self, kind: str, seconds: float) -> None:
        """Record the time that one result took. `kind` is the name of its method or baseline."""
        self._waiting[kind] -= 1
        self._seconds[kind].append(seconds)

    def estimate(self) -> str:
        """Return a text such as "(about 12 min left)", or an empty string before the first result is finished."""
        all_seconds = [seconds for known in self._seconds.values() for seconds in known]
        if not all_seconds:
            return ""
        mean = sum(all_seconds) / len(all_seconds)
        total = 0.0
        for kind, count in self._waiting.items():
            known = self._seconds.get(kind)
            total += count * (sum(known) / len(known) if known else mean)
        return f"({time_left(total)})"


class LabelledProgress:
    """A progress display that shows a label before the name of the current stage of the work.

    In a comparison, the label contains the name of the current method or baseline.
    """

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress, self._label = progress, label

    def start(self, total: int, label: str, done: int = 0, seconds: float = 0.0) -> None:
        """Start a stage; see `Progress.start`."""
        self._progress.start(total, f"{self._label}: {label}", done, seconds)

    def advance(self, n: int = 1, **fields: Json) -> None:
        """Advance the progress of the stage by `n` steps; see `Progress.advance`."""
        self._progress.advance(n, **fields)

    def note(self, line: str) -> None:
        """Show a line of text; see `Progress.note`."""
        self._progress.note(line)

    def stop(self) -> None:
        """End the stage; see `Progress.stop`."""
        self._progress.stop()

    def __enter__(self) -> LabelledProgress:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
