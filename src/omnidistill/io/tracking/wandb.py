"""Weights & Biases: runs are logged offline, unless the environment variable WANDB_MODE selects another mode.

Upload an offline run with

    wandb sync FOLDER/wandb/offline-run-*

The project is named "omnidistill" unless the environment variable WANDB_PROJECT is set, and the run is named after its
folder. A resumed run keeps its id. An offline run is rewritten from the metrics log; an online run continues after the
last step on the server.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from omnidistill.core.json_value import Json
from omnidistill.core.optional import require
from omnidistill.io.tracking.tracker import trackers


@trackers.register("wandb")
class WandbTracker:
    """Show the metrics in Weights & Biases."""

    extra: ClassVar[str] = "wandb"

    def __init__(self, folder: Path, settings: Mapping[str, Json]) -> None:
        wandb = require("wandb", "wandb")
        earlier = sorted(folder.glob("wandb/*run-*/run-*.wandb"))
        for file in earlier:
            if file.parent.name.startswith("offline-"):
                shutil.rmtree(file.parent)
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "omnidistill"),
            name=folder.resolve().name,
            id=earlier[-1].stem.removeprefix("run-") if earlier else None,
            resume="allow",
            dir=str(folder),
            mode=os.environ.get("WANDB_MODE", "offline"),
            config=dict(settings),
            reinit="create_new",
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                save_code=False,
                x_disable_meta=True,
                x_disable_stats=True,
                x_disable_machine_info=True,
                x_save_requirements=False,
            ),
        )
        self.last_step = int(self._run.step) - 1

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values of the step."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Wait until all values are written or sent."""
        self._run.finish()
