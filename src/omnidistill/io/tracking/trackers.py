"""Views of a log in the tools that people look at runs with: TensorBoard, Weights & Biases, Trackio.

A view is told all that the log holds when it is opened, and every record after that; what an earlier process told it is
dropped or gone on from. So a resumed run has every step once, whichever process logged it, and a view may be added
later. A view that fails is left out, with a note; the run goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from omnidistill.core.errors import InputError, nearest
from omnidistill.core.optional import require
from omnidistill.io.tracking.metrics_log import JSON, JsonlTracker
from omnidistill.io.tracking.tensorboard import TensorBoardView
from omnidistill.io.tracking.trackio import TrackioView
from omnidistill.io.tracking.wandb import WandbView


class View(Protocol):
    """Where the numbers of a run are shown. Whatever it raises ends the view, not the run."""

    last: int
    """The last step that it shows already; -1: none."""

    def show(self, step: int, numbers: Mapping[str, float]) -> None:
        """The numbers of a step, by name; steps do not fall."""

    def close(self) -> None:
        """Everything is shown."""


TRACKERS: dict[str, Callable[[Path, Mapping[str, JSON]], View]] = {
    "tensorboard": TensorBoardView,
    "wandb": WandbView,
    "trackio": TrackioView,
}
"""By name: opens the view of the run in a folder, which has these settings. The package of that name is needed."""


def check_trackers(names: Iterable[str]) -> None:
    """Raises InputError for an unknown name, or one whose package is not installed."""
    for name in names:
        if name not in TRACKERS:
            raise InputError(f"tracker {name!r}: unknown; known are {', '.join(TRACKERS)}{nearest(name, TRACKERS)}")
        require(name, name)


class Views:
    """Several views of one run. Use it in a `with`, or close it.

    Args:
        names: of TRACKERS.
        folder: of the run; files that a view writes are below it, where its tool lets it choose.
        settings: of the run, shown with it.
        tell: given a line about every view that failed.
    """

    def __init__(
        self, names: Iterable[str], folder: Path, settings: Mapping[str, JSON], tell: Callable[[str], None]
    ) -> None:
        self._tell = tell
        self._views: dict[str, View] = {}
        for name in dict.fromkeys(names):
            try:
                self._views[name] = TRACKERS[name](folder, settings)
            except Exception as error:
                self._failed(name, error)

    def show(self, record: Mapping[str, JSON]) -> None:
        """Show the numbers of a record as those of the step `record["iteration"]`."""
        step = record["iteration"]
        assert isinstance(step, int)
        numbers = {name: float(x) for name, x in record.items() if isinstance(x, int | float) and name != "iteration"}
        for name, view in list(self._views.items()):
            if step > view.last:
                self._attempt(name, lambda view=view: view.show(step, numbers))  # type: ignore[misc]

    def close(self) -> None:
        """End all views; may be called twice."""
        for name, view in list(self._views.items()):
            self._attempt(name, view.close)
        self._views.clear()

    def __enter__(self) -> Views:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _attempt(self, name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            del self._views[name]
            self._failed(name, error)

    def _failed(self, name: str, error: Exception) -> None:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        self._tell(f"tracker {name} failed ({why}); the run goes on without it")


class Viewed:
    """A log and views of it, as one Tracker: the views are told what the log holds, then every record it takes."""

    def __init__(self, log: JsonlTracker, views: Views) -> None:
        self._log, self._views = log, views
        for record in _records(log.path):
            views.show(record)

    def log(self, record: Mapping[str, JSON]) -> None:
        """Append a record to the log, then show it. Raises what the log raises."""
        self._log.log(record)
        self._views.show(record)

    def position(self) -> int:
        """That of the log."""
        return self._log.position()

    def close(self) -> None:
        """End the views, release the log."""
        self._views.close()
        self._log.close()

    def __enter__(self) -> Viewed:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _records(path: Path) -> Sequence[Mapping[str, JSON]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
