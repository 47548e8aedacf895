"""The content of a migration report: test recall of maps between an old and a new embedding space.

The maps are those of a migration kit (a few paired rows from which maps are computed) and of baselines. The directions
are "forward" (old to new) and "reverse" (new to old), and some baselines have only the first. The search tasks of a
direction are defined in `evaluation.migration_scores`. Recall is a fraction.
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
    """One row of the table in a migration report: maps between old and new embeddings.

    Recall is averaged if the maps are computed from several random samples of pairs.

    Attributes:
        name: "kit" for the maps of the migration kit, otherwise the name of a baseline.
        bytes: size of the files that store the maps; None if it is not defined.
        size: number of paired rows of the kit or of a random sample, from which the maps are computed. For low-rank
            maps, it is their rank; for dense maps computed from all training pairs, it is None.
        seconds: time to compute the maps.
        recall: {direction: {search task: recall on the test pairs}}. "reverse" is missing for a row without a map from
            new to old.
        validation: mean recall on the validation pairs, on which settings were chosen.
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
        old, new: names of the old and the new embeddings.
        widths: widths of the old and the new embeddings.
        pairs: number of pairs that were used, by split.
        split_by: how pairs were assigned to splits: "row" (each row at random), "group" (each group at random) or
            "set" (the splits of the packed dataset).
        storage: how the migration kit (see the module docstring) stores its rows, such as "4 bits".
        ridges: ridges of the forward and the reverse map of the kit.
        training_bytes: size in bytes of all training pairs in float32.
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
