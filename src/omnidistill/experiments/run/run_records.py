"""Two small JSON files of a run folder: the time of each stage of the run, and the rank floor.

The rank floor is a lower bound on the matching loss. The files are checked when they are read.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from omnidistill.io.artifacts import JsonContent, write_atomic
from omnidistill.io.tracking import MOST_METRIC

TIMINGS, FLOOR = "timings.json", "floor.json"
Seconds = Annotated[float, Field(ge=0, le=1e12)]


class StageSeconds(JsonContent):
    """Content of timings.json: how many seconds each finished stage of a run took (heads, experts, distillation)."""

    remedy: ClassVar[str] = "delete this file; it contains only times"

    heads: Seconds | None = None
    experts: Seconds | None = None
    distill: Seconds | None = None

    @classmethod
    def read(cls, folder: Path) -> StageSeconds:
        """Read timings.json in a run folder: the seconds of each stage. Without this file, all times are None.

        Raises:
            InputError: the file is damaged.
        """
        path = folder / TIMINGS
        return cls.from_file(path) if path.exists() else cls()

    def write(self, folder: Path) -> None:
        """Write timings.json in a run folder, without the stages that have no time."""
        content = {name: value for name, value in self.to_json().items() if value is not None}
        write_atomic(folder / TIMINGS, json.dumps(content, indent=1).encode())


class RankFloor(JsonContent):
    """Content of floor.json: the rank floor for each modality.

    The rank floor is a lower bound on the matching loss, i.e. on the distance between the heads of student and expert
    (Eckart-Young theorem). It holds for every set that has as many rows as the set of the run. It is None if it cannot
    be computed from the expert trajectories.
    """

    remedy: ClassVar[str] = "distil again"

    floor: Mapping[str, Annotated[float, Field(ge=0, le=MOST_METRIC)]] | None = None

    @classmethod
    def read(cls, folder: Path, modalities: Collection[str]) -> Mapping[str, float] | None:
        """Return the rank floor of each modality, read from floor.json. Return None if the run has no rank floor.

        Args:
            folder: the run folder.
            modalities: the modalities of the run.

        Raises:
            InputError: the file is damaged, or contains a modality that the run does not have.
        """
        path = folder / FLOOR
        floor = cls.from_file(path).floor if path.exists() else None
        if floor is not None and not set(floor) <= set(modalities):
            raise cls.damaged(str(path), f"floor has the modalities {', '.join(floor)}")
        return floor
