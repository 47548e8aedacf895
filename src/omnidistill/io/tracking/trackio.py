"""Trackio: a local data base, in its own place (the environment variable TRACKIO_DIR moves it).

    trackio show --project omnidistill

The run is named after its folder and a digest of where that is. It is written anew from the log when the run goes on,
and takes the place of the earlier one (on a server, where the environment names one, it stands beside it).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omnidistill.core.optional import require
from omnidistill.io.tracking.metrics_log import JSON

_PROJECT = "omnidistill"


class TrackioView:
    """A `tracking.views.View`."""

    last = -1

    def __init__(self, folder: Path, settings: Mapping[str, JSON]) -> None:
        self._trackio = trackio = require("trackio", "trackio")
        place = folder.resolve()
        name = f"{place.name}-{hashlib.sha256(str(place).encode()).hexdigest()[:8]}"
        with _quiet():
            with contextlib.suppress(ValueError):  # there is no such project yet
                for earlier in trackio.Api().runs(_PROJECT):
                    if earlier.name == name:
                        earlier.delete()
            self._run: Any = trackio.init(
                project=_PROJECT,
                name=name,
                config=dict(settings),
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def show(self, step: int, numbers: Mapping[str, float]) -> None:
        """One number a name."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Wait until all is written."""
        with _quiet():
            self._trackio.finish()


def _quiet() -> contextlib.redirect_stdout[io.StringIO]:
    """What Trackio prints is not what a command prints."""
    return contextlib.redirect_stdout(io.StringIO())
