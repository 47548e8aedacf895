"""Trackio: a local database in the folder set by the environment variable TRACKIO_DIR.

View it with

    trackio show --project omnidistill

The Trackio run is named after the run's folder, followed by a digest of the folder's path. When a run resumes, its
Trackio run in the local database is deleted and written again from the metrics log. If environment variables select a
Trackio server, the old Trackio run remains on the server.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from omnidistill.core.json_value import Json
from omnidistill.core.optional import require
from omnidistill.io.tracking.tracker import trackers

_PROJECT = "omnidistill"


@trackers.register("trackio")
class TrackioTracker:
    """Show the metrics in the local dashboard of Trackio."""

    extra: ClassVar[str] = "trackio"
    last_step = -1

    def __init__(self, folder: Path, settings: Mapping[str, Json]) -> None:
        self._trackio = trackio = require("trackio", "trackio")
        path = folder.resolve()
        name = f"{path.name}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
        with _silenced_stdout():
            with contextlib.suppress(ValueError):  # raised if the project does not exist yet
                for run in trackio.Api().runs(_PROJECT):
                    if run.name == name:
                        run.delete()
            self._run: Any = trackio.init(
                project=_PROJECT,
                name=name,
                config=dict(settings),
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values of the step."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Wait until all values are written."""
        with _silenced_stdout():
            self._trackio.finish()


def _silenced_stdout() -> contextlib.redirect_stdout[io.StringIO]:
    """Discard the lines that Trackio prints, because they would mix with the output of the command."""
    return contextlib.redirect_stdout(io.StringIO())
