"""The registry of trackers. A tracker shows the metrics of a run in another tool.

When a run starts or resumes, a tracker first receives the records that are already in the metrics log, then each new
record. Records without an iteration, and steps that the tool already has, are skipped. A tracker can therefore be added
to an existing run: it shows every step once, including the steps that an earlier process logged.

    @trackers.register("recorder")                     in Python
    class Recorder: ...

    [project.entry-points."omnidistill.trackers"]      in pyproject.toml of an installed package
    recorder = "my_package:Recorder"
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from omnidistill.core.json_value import Json
from omnidistill.core.optional import require
from omnidistill.core.registry import Registry


@runtime_checkable
class Tracker(Protocol):
    """Shows one run in another tool. If a tracker raises an exception, the run adds a note and continues without it.

    To add a tracker, register a class that follows this protocol. Its constructor takes `(folder, settings)`; see
    `TrackerFactory`.
    """

    last_step: int
    """Last step that the tool already has, for example from an interrupted process; -1 if it has no step."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Show the values of a step.

        Args:
            step: the outer iteration. It is larger than `last_step`, and not smaller than in the previous call.
            values: {name: number}.
        """

    def close(self) -> None:
        """Write or send all values, then close the tool."""


class TrackerFactory(Protocol):
    """An entry of `trackers`: a tracker class, or a function that returns a tracker.

    Each built-in tracker needs an optional package. The tracker's attribute `extra` names both the package to import
    and the extra that installs it: "mlflow" stands for `import mlflow` and `pip install 'omnidistill[mlflow]'`.
    Trackers from other packages need no such attribute.
    """

    def __call__(self, folder: Path, settings: Mapping[str, Json]) -> Tracker:
        """Open the run in the tool.

        Args:
            folder: folder of the run. The tracker writes its files there if the tool allows it.
            settings: settings of the run, which the tool shows.
        """


trackers: Registry[TrackerFactory] = Registry(
    "tracker",
    {
        "tensorboard": "omnidistill.io.tracking.tensorboard",
        "wandb": "omnidistill.io.tracking.wandb",
        "trackio": "omnidistill.io.tracking.trackio",
        "mlflow": "omnidistill.io.tracking.mlflow",
    },
    group="omnidistill.trackers",
)
"""Trackers by name."""


def check_trackers(names: Iterable[str]) -> None:
    """Import the trackers with these names, so that a missing tracker is reported before a run starts.

    Raises:
        InputError: one of the names is unknown (the message suggests the closest name), or a package is not installed.
    """
    for name in names:
        extra = getattr(trackers.get(name), "extra", None)
        if extra is not None:
            require(extra, extra)
