"""Weights & Biases: offline unless the environment variable WANDB_MODE says otherwise.

    wandb sync FOLDER/wandb/offline-run-*

Project "omnidistill" (or WANDB_PROJECT), the run named after the folder. A run that goes on keeps its identity: offline
it is written anew from the log, online it goes on after the last step that the server has.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omnidistill.core.optional import require
from omnidistill.io.tracking.metrics_log import JSON


class WandbView:
    """A `tracking.views.View`."""

    def __init__(self, folder: Path, settings: Mapping[str, JSON]) -> None:
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
        self.last = int(self._run.step) - 1

    def show(self, step: int, numbers: Mapping[str, float]) -> None:
        """One number a name."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Wait until all is written, or sent."""
        self._run.finish()
