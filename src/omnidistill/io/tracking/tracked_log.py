"""The metrics log of a run together with the trackers that mirror it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from omnidistill.core.errors import InputError
from omnidistill.core.json_value import Json
from omnidistill.io.tracking.metrics_log import MetricsLog
from omnidistill.io.tracking.metrics_record import MetricsRecord
from omnidistill.io.tracking.tracker import Tracker, trackers


class TrackerGroup:
    """All trackers of one run. Use it as a context manager, or call `close`.

    A tracker that raises an exception is reported and no longer used. The run and its other trackers continue.

    Args:
        names: names of trackers; see `trackers`.
        folder: folder of the run. It may be None only if `names` is empty.
        settings: settings of the run, which the trackers show.
        report: function that is called with one line for each tracker that fails.

    Raises:
        InputError: trackers are requested, but the run has no folder.
    """

    def __init__(
        self, names: Iterable[str], folder: Path | None, settings: Mapping[str, Json], report: Callable[[str], None]
    ) -> None:
        self._report = report
        self._trackers: dict[str, Tracker] = {}
        for name in dict.fromkeys(names):
            if folder is None:
                raise InputError(
                    f"tracker {name!r}: a tracker needs an output folder; pass a folder, or omit the tracker"
                )
            try:
                self._trackers[name] = _open(name, folder, settings)
            except Exception as error:
                self._report_failure(name, error)

    def log(self, record: MetricsRecord) -> None:
        """Pass the numbers in a record to every tracker, as values for step `record.iteration`.

        Trackers do not receive records without an iteration.
        """
        step = record.iteration
        if step is None:
            return
        values = {name: float(value) for name, value in record.values.items()}
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
    """A `MetricsLog` that passes its records to trackers: first all existing records, then each new record."""

    def __init__(self, log: MetricsLog, group: TrackerGroup) -> None:
        self._log, self._group = log, group
        for record in log.records():
            group.log(record)

    def log(self, record: MetricsRecord) -> None:
        """Append a record to the log, then pass it to the trackers. Raise the same exceptions as `JsonlLog.log`."""
        self._log.log(record)
        self._group.log(record)

    def records(self) -> list[MetricsRecord]:
        """Return the records in the log."""
        return self._log.records()

    def position(self) -> int:
        """Return how many bytes of the log are safely stored."""
        return self._log.position()

    def close(self) -> None:
        """Close the trackers and the log."""
        self._group.close()
        self._log.close()

    def __enter__(self) -> TrackedLog:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _open(name: str, folder: Path, settings: Mapping[str, Json]) -> Tracker:
    tracker = trackers.get(name)(folder, settings)
    if not isinstance(tracker, Tracker):
        raise TypeError(f"{type(tracker).__name__} is not a Tracker: it needs last_step, log and close")
    return tracker
