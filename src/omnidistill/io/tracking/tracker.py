"""Trackers: tools that show the metrics of a run, by name.

A tracker receives every record of the metrics log: those already in it when the run starts or resumes, then each new
one. Therefore it shows every step once, even if another process logged it, and it can be added to an existing run.

    @trackers.register("recorder")                     from Python
    class Recorder: ...

    [project.entry-points."omnidistill.trackers"]      from an installed package
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
    """One run in a tool that shows metrics. An exception ends the tracker with a note; the run continues.

    `trackers` contains classes of this protocol whose constructor takes `(folder, settings)`, see `TrackerFactory`.
    """

    last_step: int
    """Last step that the tool already has, for example from the process that was interrupted; -1: none."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Show the values of a step, by name. Steps do not decrease, and every one is above `last_step`."""

    def close(self) -> None:
        """Write or send everything, and release the tool."""


class TrackerFactory(Protocol):
    """An entry of `trackers`: a tracker class, or a function with the same arguments.

    A built-in class names its package and extra, which are called alike, as `extra`; a class of another package
    imports what it needs at the top of its module.
    """

    def __call__(self, folder: Path, settings: Mapping[str, Json]) -> Tracker:
        """Open the run in the tool.

        Args:
            folder: folder of the run. Files of the tracker belong in it, if the tool allows a choice.
            settings: settings of the run, to be shown with it.
        """


trackers: Registry[TrackerFactory] = Registry(
    "tracker",
    {
        "tensorboard": "omnidistill.io.tracking.tensorboard",
        "wandb": "omnidistill.io.tracking.wandb",
        "trackio": "omnidistill.io.tracking.trackio",
    },
    group="omnidistill.trackers",
)
"""Trackers by name."""


def check_trackers(names: Iterable[str]) -> None:
    """Import the trackers with these names, so that a missing one is reported before a run starts.

    Raises:
        InputError: no tracker has this name (the message names the nearest), or its package is not installed.
    """
    for name in names:
        extra = getattr(trackers.get(name), "extra", None)
        if extra is not None:
            require(extra, extra)
