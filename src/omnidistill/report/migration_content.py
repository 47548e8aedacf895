"""The content of a migration report: test recall of a kit and of the maps to compare it with.

Every row has the recall of two directions, "forward" (old to new) and "reverse" (new to old). The tasks of a direction
are defined in `evaluation.migration_scores`. All values are fractions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from omnidistill.evaluation.run_scores import Level
from omnidistill.io.artifacts import JsonContent

SCHEMA = 1

TaskRecall = Mapping[str, Mapping[Level, float]]
"""{task: {recall level: value}}."""


class MigrationRow(JsonContent):
    """One row of the table.

    Attributes:
        name: the kit, or the name of a baseline.
        bytes: size of the files; None if it is not defined.
        size: number of rows or rank; None for dense maps.
        seconds: time to compute the maps.
        recall: {direction: recall of each task}. One-way maps have no reverse direction.
        validation: mean recall on validation, by which settings were chosen; mean over draws.
    """

    name: str
    bytes: int | None
    size: int | None
    seconds: float
    recall: Mapping[str, TaskRecall]
    validation: float


class MigrationContent(JsonContent):
    """The content of a migration report.

    Attributes:
        old, new: names of both sides.
        widths: widths of both sides.
        pairs: number of pairs that were used, by split.
        split_by: "row", "group" or "set".
        storage: how the kit stores its rows.
        ridges: ridges of both directions of the kit.
        training_bytes: size in bytes of the training rows of both sides in float32.
        seed: the seed.
        levels: names of the recall metrics.
        rows: the kit, then the baselines.
        command: the command that made the kit.
        versions: versions of the packages that were used.
    """

    remedy: ClassVar[str] = "make the kit again"

    old: str
    new: str
    widths: Mapping[str, int]
    pairs: Mapping[str, int]
    split_by: str
    storage: str
    ridges: Mapping[str, float]
    training_bytes: int
    seed: int
    levels: Sequence[Level]
    rows: Sequence[MigrationRow]
    command: str = ""
    versions: Mapping[str, str] = {}

    def to_json(self) -> dict[str, Any]:
        """Return the content as a JSON object."""
        return {"schema": SCHEMA, **self.model_dump(mode="json")}
