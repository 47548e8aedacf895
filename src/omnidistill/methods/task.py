"""The inputs of a method: data without a test split, initial heads, and expert trajectories on request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from omnidistill.core.device import moved
from omnidistill.data.featureset import Development
from omnidistill.distillation import DistilledSet, Provenance
from omnidistill.distillation.set_settings import SetSettings
from omnidistill.distillation.set_tensors import as_stored
from omnidistill.io.tracking import Progress, SilentProgress
from omnidistill.models.heads import Heads
from omnidistill.training.experts import ExpertBuffer, ExpertsConfig


@dataclass(frozen=True)
class Task:
    """Inputs of a distillation method.

    Attributes:
        development: the splits that may be used for training and for choosing settings.
        start: initial heads of students, {modality: embedding width x feature width}, on the device where methods
            compute.
        seed: seed for all random streams.
        experts_config: how experts are trained.
        folder: folder for the log and the checkpoints, or None to write neither. The set is saved by the caller.
        experts: function that trains (or loads) the expert trajectories.
        provenance: record of how the set is produced, as far as it is known.
        initial_set: set from which the outer loop continues. If it is None, the loop starts from random real rows.
        resume: whether to resume from a checkpoint in the folder.
        trackers: names of experiment trackers, such as "wandb". They receive the metrics in addition to the log.
        progress: reports progress to the user.
    """

    development: Development
    start: Heads
    seed: int
    experts_config: ExpertsConfig
    folder: Path | None
    experts: Callable[[], ExpertBuffer]
    provenance: Provenance = field(default_factory=Provenance)
    initial_set: DistilledSet | None = None
    resume: bool = False
    trackers: tuple[str, ...] = ()
    progress: Progress = field(default_factory=SilentProgress)

    @property
    def width(self) -> int:
        """Embedding width d of the heads."""
        return next(iter(self.start.values())).shape[0]

    def with_experts(self, buffer: ExpertBuffer) -> Task:
        """Return a copy of the task with these experts recorded in the provenance."""
        key = buffer.key.to_json()
        trained = {name: key[name] for name in ("config", "starts", "seed")}
        return replace(self, provenance=replace(self.provenance, experts=trained))

    def as_set(self, settings: SetSettings, tensors: Mapping[str, Tensor], ids: tuple[str, ...] = ()) -> DistilledSet:
        """Return a distilled set with these tensors. Its training recipe is a placeholder, which must be replaced.

        Args:
            settings: determines how the rows are stored and how students train on them.
            tensors: the learned (latent) tensors. The rows of modality NAME are computed from "rows/NAME", and the
                target similarity from "similarity/...".
            ids: ids of the real rows, if the rows are a selection of real rows.
        """
        train = self.development.train
        stored = moved(as_stored(settings.resolved_storage, tensors), "cpu")
        return DistilledSet(
            stored, settings.spec(train.widths), train.preprocessing, replace(self.provenance, initial_ids=ids)
        )
