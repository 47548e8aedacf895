"""TensorBoard: event files in FOLDER/tensorboard.

View them with

    tensorboard --logdir FOLDER

Whenever the run resumes, the event files are rewritten from the metrics log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from omnidistill.core.json_value import Json
from omnidistill.io.tracking.tracker import trackers


@trackers.register("tensorboard")
class TensorBoardTracker:
    """Show the metrics in TensorBoard, with one scalar per name."""

    extra: ClassVar[str] = "tensorboard"
    last_step = -1

    def __init__(self, folder: Path, settings: Mapping[str, Json]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        event_folder = folder / "tensorboard"
        for file in event_folder.glob("events.out.tfevents.*"):
            file.unlink()
        self._writer: Any = SummaryWriter(str(event_folder), purge_step=0)
        self._writer.add_text("settings", f"```json\n{json.dumps(settings, indent=1)}\n```", 0)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add one scalar per name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write the values that are still buffered. The writer itself flushes only every two minutes."""
        self._writer.close()
