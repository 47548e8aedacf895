"""TensorBoard: event files in FOLDER/tensorboard, written anew from the log whenever the run goes on.

tensorboard --logdir FOLDER
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omnidistill.io.tracking.metrics_log import JSON


class TensorBoardView:
    """A `tracking.views.View`."""

    last = -1

    def __init__(self, folder: Path, settings: Mapping[str, JSON]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        place = folder / "tensorboard"
        for file in place.glob("events.out.tfevents.*"):
            file.unlink()
        self._writer: Any = SummaryWriter(str(place), purge_step=0)
        self._writer.add_text("settings", f"```json\n{json.dumps(settings, indent=1)}\n```", 0)

    def show(self, step: int, numbers: Mapping[str, float]) -> None:
        """One scalar a name."""
        for name, number in numbers.items():
            self._writer.add_scalar(name, number, step)

    def close(self) -> None:
        """Write the rest (the writer writes every two minutes)."""
        self._writer.close()
