"""The results from which a crossed table is built, stored as JSON files or in memory.

A crossed table contains the recall for every combination of distilled set, training recipe and model. One file contains
the result of one work item: a set that was distilled, or a model that was trained. The name of the file contains a
digest of everything that determines the result, so results with different settings are stored in different files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from omnidistill.core.json_value import Json
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.crossed.crossed_plan import Work
from omnidistill.experiments.crossed.crossed_settings import CrossedSettings
from omnidistill.io.artifacts import JsonContent, write_atomic

_ALWAYS = ("seed", "heads", "evaluate", "hidden")
_USED: dict[str, tuple[str, ...]] = {
    "own": ("map_steps", "map_learning_rate"),
    "sgd": ("learning_rates", "max_steps"),
    "anchor": ("ridges",),
    "stacked": ("ridges", "weights"),
    "map": ("ridges", "map_steps", "map_learning_rate"),
    "infonce": ("network_learning_rate",),
}
"""Settings of the table that affect the results of a recipe, in addition to `_ALWAYS`."""


class WorkResult(JsonContent):
    """Result of a work item, which distils a set or trains a model.

    Attributes:
        recall: {"R@K": recall in [0, 1]} on the test split; None if the work item distils a set.
        seconds: duration.
        settings: the settings that were chosen on validation.
    """

    remedy: ClassVar[str] = "delete the file to compute the result again"

    recall: Mapping[str, float] | None = None
    seconds: float
    settings: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Results:
    """Stores the results of the work items of a crossed table. A work item distils a set or trains a model.

    Attributes:
        folder: folder in which the crossed table is saved; None stores results in memory only.
        settings: settings of the crossed table.
        configs: {name of a set: settings of the run that distils it}.
        heads: fingerprint of the pre-trained heads.
    """

    folder: Path | None
    settings: CrossedSettings
    configs: Mapping[str, RunConfig]
    heads: str
    _memory: dict[Work, WorkResult] = field(default_factory=dict)

    def get(self, work: Work) -> WorkResult | None:
        """Return the stored result of a work item (a set to distil, or a model to train); None if there is none.

        Raises:
            InputError: the file is damaged.
        """
        path = self._path(work)
        if work not in self._memory and path is not None and path.exists():
            self._memory[work] = WorkResult.from_file(path)
        return self._memory.get(work)

    def save(self, work: Work, result: WorkResult) -> None:
        """Store the result of a work item (a set to distil, or a model to train)."""
        self._memory[work] = result
        if (path := self._path(work)) is not None:
            write_atomic(path, json.dumps(result.to_json(), indent=1, allow_nan=False).encode())

    def name(self, work: Work) -> str:
        """Return the name of the file for the result of a work item (a set to distil, or a model to train).

        It contains a digest of everything that determines the result.
        """
        config = self.configs.get(work.source)
        key: dict[str, Json] = {
            "work": [work.source, work.recipe, work.model.name, work.variant, work.share],
            "config": None if config is None else config.evolve(method="").model_dump(mode="json"),
            "settings": self.settings.model_dump(mode="json", include={*_ALWAYS, *_USED.get(work.recipe, ())}),
            "heads": self.heads,
        }
        if (teacher := self.settings.teacher(work.source)) is not None:
            key["teacher"] = teacher.model_dump(mode="json")
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
        return f"{re.sub('[^a-z0-9]+', '-', work.title.lower()).strip('-')}-{digest}"

    def _path(self, work: Work) -> Path | None:
        return None if self.folder is None else self.folder / "results" / f"{self.name(work)}.json"
