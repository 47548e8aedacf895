"""Storage for the results, runs and experts of a comparison, in a folder or in memory.

Stored results are reused, so an interrupted comparison in a folder can continue. A result contains:

    "query->gallery"   the rankings of one direction: for each run and query, the 5 fields of
                       `evaluation.ranking.Ranking`
    costs              a dict with `size`, `seconds`, `bytes`, `peak_bytes`, `settings`, `label` (only for baselines),
                       and `judged` (the number of candidates compared on validation)
    "heads/MODALITY", "bias/MODALITY"   trained heads; only for a baseline that another baseline needs
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.core.json_value import Json
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.fingerprint import fingerprint
from omnidistill.evaluation.run_scores import Amount, Count
from omnidistill.experiments.comparison.plan import AnyCell, Cell
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.run import heads_fingerprint, load_or_train_experts, open_run
from omnidistill.io.artifacts import JsonContent, load_artifact, save_artifact
from omnidistill.io.tracking import Progress
from omnidistill.models.heads import Heads
from omnidistill.training.experts import ExpertBuffer

KIND = "ranking"

Costs = Mapping[str, Json]
"""Costs of a result: size, seconds, bytes, settings and so on."""

Stored = tuple[Mapping[str, Tensor], Mapping[str, Any]]
"""Tensors and costs of a stored result."""


class ResultCosts(JsonContent):
    """The costs of a stored result, such as seconds, bytes and peak memory.

    They are checked when the result is loaded. The module docstring lists them.
    """

    remedy: ClassVar[str] = "delete the folder of this result to compute it again"

    size: Count | None
    seconds: Mapping[str, Amount]
    bytes: Count | None
    peak_bytes: Count | None
    settings: Mapping[str, Json]
    judged: Count
    label: str = ""


@runtime_checkable
class ResultStore(Protocol):
    """Stores the results, runs and experts of a comparison."""

    def has(self, cell: AnyCell) -> bool:
        """Return whether the result of a cell (method, size and seed) or baseline is stored."""
        ...

    def load(self, cell: AnyCell) -> Stored:
        """Return the stored result of a cell (method, size and seed) or baseline.

        Raises:
            InputError: the stored result is damaged.
        """
        ...

    def save(self, cell: AnyCell, tensors: Mapping[str, Tensor], meta: Costs) -> None:
        """Store the result of a cell (method, size and seed) or baseline."""
        ...

    def run_folder(self, cell: Cell) -> Path | None:
        """Return the run folder of a cell (method, size and seed); None if runs are not stored."""
        ...

    def experts(self, data: FeatureSet, start: Heads, config: RunConfig, progress: Progress) -> ExpertBuffer:
        """Return the experts for these settings; train them if they are missing.

        All methods with the same expert settings share the same experts.
        """
        ...


@dataclass(frozen=True)
class FolderStore:
    """Stores the results, runs and experts of a comparison in a folder.

    FOLDER/experts/<key>/               expert trajectories, shared by all methods that need them
    FOLDER/baselines/<name>/ranking/    result of a baseline
    FOLDER/cells/<name>/run/            run of a method with one size and one seed
    FOLDER/cells/<name>/ranking/        result of this run
    """

    folder: Path

    def has(self, cell: AnyCell) -> bool:
        """Return whether the result of a cell (method, size and seed) or baseline is stored completely."""
        return (self.result_folder(cell) / "manifest.json").exists()

    def load(self, cell: AnyCell) -> Stored:
        """Return the stored result of a cell (method, size and seed) or baseline.

        Raises:
            InputError: the stored result is damaged.
        """
        folder = self.result_folder(cell)
        artifact = load_artifact(folder, KIND)
        ResultCosts.from_json(artifact.meta, str(folder))
        return artifact.tensors, artifact.meta

    def save(self, cell: AnyCell, tensors: Mapping[str, Tensor], meta: Costs) -> None:
        """Store the result of a cell (method, size and seed) or baseline, completely or not at all."""
        save_artifact(self.result_folder(cell), KIND, tensors, meta)

    def run_folder(self, cell: Cell) -> Path:
        """Return the run folder of a cell (method, size and seed)."""
        return self._cell_folder(cell) / "run"

    def experts(self, data: FeatureSet, start: Heads, config: RunConfig, progress: Progress) -> ExpertBuffer:
        """Return the experts for these settings; train them if they are missing."""
        return load_or_train_experts(data, start, config, self.experts_folder(data, start, config), progress)

    def experts_folder(self, data: FeatureSet, start: Heads, config: RunConfig) -> Path:
        """Return the folder for experts trained on these data, from these heads, with these settings."""
        return self.folder / "experts" / hashlib.sha256(_experts_key(data, start, config).encode()).hexdigest()[:16]

    def result_folder(self, cell: AnyCell) -> Path:
        """Return the folder for the result of a cell (method, size and seed) or baseline.

        Version 0.1 stored results in other folders, which are not used.
        """
        folder = self._cell_folder(cell) if isinstance(cell, Cell) else self.folder / "baselines" / cell.folder
        return folder / "ranking"

    def _cell_folder(self, cell: Cell) -> Path:
        """Return the folder of a cell (method, size and seed).

        If a folder already contains a run with the same settings, that folder is returned.
        """
        folder = self.folder / "cells" / cell.folder
        return folder if folder.exists() else self._earlier.get(_settings_key(cell.config), folder)

    @cached_property
    def _earlier(self) -> dict[str, Path]:
        """The folder of every stored run, as {settings of the run: folder}.

        Folders from earlier versions of omnidistill are included, although those versions named folders differently.
        """
        folders = {}
        for state in sorted(self.folder.glob("cells/*/run/run.json")):
            with suppress(InputError):
                folders[_settings_key(open_run(state.parent).config)] = state.parents[1]
        return folders


@dataclass(frozen=True)
class MemoryStore:
    """Stores the results and experts of a comparison in memory only."""

    _results: dict[str, Stored] = field(default_factory=dict)
    _experts: dict[str, ExpertBuffer] = field(default_factory=dict)

    def has(self, cell: AnyCell) -> bool:
        """Return whether the result of a cell (method, size and seed) or baseline is stored."""
        return self._key(cell) in self._results

    def load(self, cell: AnyCell) -> Stored:
        """Return the stored result of a cell (method, size and seed) or baseline."""
        return self._results[self._key(cell)]

    def save(self, cell: AnyCell, tensors: Mapping[str, Tensor], meta: Costs) -> None:
        """Store the result of a cell (method, size and seed) or baseline."""
        self._results[self._key(cell)] = tensors, meta

    def run_folder(self, cell: Cell) -> None:
        """Return None, because runs are not stored."""

    def experts(self, data: FeatureSet, start: Heads, config: RunConfig, progress: Progress) -> ExpertBuffer:
        """Return the experts for these settings; train them at the first call."""
        key = _experts_key(data, start, config)
        if key not in self._experts:
            self._experts[key] = self._train(data, start, config, progress)
        return self._experts[key]

    def _train(self, data: FeatureSet, start: Heads, config: RunConfig, progress: Progress) -> ExpertBuffer:
        return load_or_train_experts(data, start, config, None, progress)

    def _key(self, cell: AnyCell) -> str:
        return cell.folder


def _settings_key(config: RunConfig) -> str:
    """Return all settings of a run as JSON, except the name of the method."""
    return config.evolve(method="").model_dump_json()


def _experts_key(data: FeatureSet, start: Heads, config: RunConfig) -> str:
    inputs = {"data": fingerprint(data), "heads": heads_fingerprint(start)}
    return json.dumps({**inputs, **config.experts.model_dump(mode="json")}, sort_keys=True)
