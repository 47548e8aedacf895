"""The metrics log of a run together with the trackers that mirror it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from omnidistill.io.tracking.metrics_log import JSON, JsonlLog
from omnidistill.io.tracking.tracker import Tracker, trackers


class TrackerGroup:
    """Several trackers of one run. Use it as a context manager, or call `close`.

    A tracker that raises an exception is dropped with a note; the others and the run continue.

    Args:
        names: names of trackers, see `trackers`.
        folder: folder of the run.
        settings: settings of the run, which the trackers show.
        report: called with one line for each tracker that fails.
    """

    def __init__(
        self, names: Iterable[str], folder: Path, settings: Mapping[str, JSON], report: Callable[[str], None]
    ) -> None:
        self._report = report
        self._trackers: dict[str, Tracker] = {}
        for name in dict.fromkeys(names):
            try:
                self._trackers[name] = _open(name, folder, settings)
            except Exception as error:
                self._report_failure(name, error)

    def log(self, record: Mapping[str, JSON]) -> None:
        """Pass the numbers of a record to every tracker, as the values of the step `record["iteration"]`."""
        step = record["iteration"]
        assert isinstance(step, int)
        values = {name: float(x) for name, x in record.items() if isinstance(x, int | float) and name != "iteration"}
        for name, tracker in list(self._trackers.items()):
            if step > tracker.last_step:
                self._attempt(name, lambda tracker=tracker: tracker.log(step, values))  # type: ignore[misc]

    def close(self) -> None:
        """Close all trackers. A second call does nothing."""
        for name, tracker in list(self._trackers.items()):
            self._attempt(name, tracker.close)
        self._trackers.clear()

    def __enter__(self) -> TrackerGroup:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _attempt(self, name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            del self._trackers[name]
            self._report_failure(name, error)

    def _report_failure(self, name: str, error: Exception) -> None:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        self._report(f"tracker {name} failed ({why}); the run continues without it")


class TrackedLog:
    """A `MetricsLog` that passes its records on to trackers: first those already in the log, then each new one."""

    def __init__(self, log: JsonlLog, group: TrackerGroup) -> None:
        self._log, self._group = log, group
        for record in _records(log.path):
            group.log(record)

    def log(self, record: Mapping[str, JSON]) -> None:
        """Append a record to the log, then pass it to the trackers. Raises the exceptions of `JsonlLog.log`."""
        self._log.log(record)
        self._group.log(record)

    def position(self) -> int:
        """Return the position of the log, in bytes."""
        return self._log.position()

    def close(self) -> None:
        """Close the trackers and the log."""
        self._group.close()
        self._log.close()

    def __enter__(self) -> TrackedLog:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _open(name: str, folder: Path, settings: Mapping[str, JSON]) -> Tracker:
    tracker = trackers.get(name)(folder, settings)
    if not isinstance(tracker, Tracker):
        raise TypeError(f"{type(tracker).__name__} is no Tracker: it needs last_step, log and close")
    return tracker


def _records(path: Path) -> Sequence[Mapping[str, JSON]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
