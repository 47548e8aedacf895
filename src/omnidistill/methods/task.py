"""What a method is given, and what it promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from omnidistill.config import RunConfig
from omnidistill.data.featureset import Development
from omnidistill.distill import Distillation, DistilledSet, Recipe
from omnidistill.distill.distilled_set import as_stored
from omnidistill.io.tracking import Progress, SilentProgress
from omnidistill.models.heads import Heads
from omnidistill.models.storage import parametrisation_from
from omnidistill.training.experts import ExpertBuffer


@dataclass(frozen=True)
class Task:
    """Data without a test split, start heads and settings; `experts` trains (or opens) trajectories when asked."""

    development: Development
    start: Heads
    config: RunConfig
    folder: Path
    experts: Callable[[], ExpertBuffer]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    begun: DistilledSet | None = None  # what a learned set goes on from
    resume: bool = False
    trackers: tuple[str, ...] = ()
    progress: Progress = field(default_factory=SilentProgress)

    def of(self, buffer: ExpertBuffer) -> Task:
        """The same task, recording that these experts were used."""
        trained = {name: buffer.meta["key"][name] for name in ("config", "starts", "seed")}
        return replace(self, provenance={**self.provenance, "experts": trained})

    def as_set(self, tensors: Mapping[str, Tensor], ids: tuple[str, ...] = ()) -> DistilledSet:
        """These rows and similarity ("rows/NAME", "similarity/..."), stored as the settings say, as a set whose recipe
        is still to be chosen.
        """
        train, settings = self.development.train, self.config.distill
        recipe = Recipe((1.0,) * len(train.modalities), 1, settings.batch)
        stored = as_stored(parametrisation_from(settings.counted_storage), tensors)
        return DistilledSet(
            stored, train.modalities, recipe, self.config, train.preprocessing, dict(self.provenance), ids
        )


@runtime_checkable
class Method(Protocol):
    """Makes a set of `task.config.distill.size` rows and saves it in FOLDER/distilled, its recipe chosen on validation.

    Rows are stored as `task.config.distill.storage` says, and tuned as they are stored (`Task.as_set` does it). Sees no
    test row; draws from named streams of the run's seed alone. Raises InputError for a size that cannot be.
    """

    def __call__(self, task: Task, /) -> Distillation:
        """The set, and the seconds it took (experts not counted)."""
        ...
