"""One cell or baseline, and its stored result: the rank of the first positive of every test query, and costs.

A result is an artifact of kind "result": tensors "query->gallery" (R runs x n queries, float64), meta size, seconds,
bytes, peak_bytes, judged, settings, and the label of a baseline. What is stored is not made again, so an interrupted
comparison continues. The baseline `full` stores its heads too, since heads of equal bytes are cut from them.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from omnidistill.core.errors import InputError
from omnidistill.core.memory import peak_memory
from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.baselines import Setting, baselines
from omnidistill.evaluation.distilled_row import train_on_sets
from omnidistill.evaluation.scores import Ranks, ranks_on_test
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.experiments.comparison.plan import AnyCell, BaselineCell, Cell
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.run import Run, fingerprint, heads_fingerprint, open_run, run_distill
from omnidistill.experiments.run_page import METRICS
from omnidistill.experiments.table_baselines import check_result
from omnidistill.io.artifacts import load_artifact, save_artifact
from omnidistill.io.tracking import Progress, read_records
from omnidistill.models.heads import Heads
from omnidistill.training.experts.epochs import StackedHeads

KIND = "result"


@dataclass(frozen=True)
class Result:
    """What the tables are made of."""

    ranks: list[Ranks]  # one a run
    meta: dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Data, start heads, and the folder that a comparison keeps its parts in."""

    reference: str
    data: FeatureSet
    start: Heads
    folder: Path

    def experts(self, data: FeatureSet, start: Heads, config: RunConfig) -> Path:
        """Where the experts of these data, heads and settings are kept for all methods that want them."""
        key = {"data": fingerprint(data), "heads": heads_fingerprint(start), **config.experts.model_dump(mode="json")}
        return self.folder / "experts" / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]

    def result(self, cell: AnyCell) -> Path:
        """Return where a result is stored."""
        if isinstance(cell, Cell):
            return self.cell_folder(cell) / "result"
        stored = self.folder / "references" / cell.folder  # where version 0.1 stored the same baselines
        return stored if stored.exists() else self.folder / "baselines" / cell.folder

    def cell_folder(self, cell: Cell) -> Path:
        """Return the folder of a cell: the one that holds a run with these settings already, or a new one."""
        folder = self.folder / "cells" / cell.folder
        return folder if folder.exists() else self._stored.get(_key(cell.config), folder)

    @cached_property
    def _stored(self) -> dict[str, Path]:
        """The folders of earlier cells by their settings; an earlier version may have named them differently."""
        found = {}
        for state in sorted(self.folder.glob("cells/*/run/run.json")):
            with suppress(InputError):
                found[_key(open_run(state.parent).config)] = state.parents[1]
        return found

    def has(self, cell: AnyCell) -> bool:
        """Whether the result is there, whole."""
        return (self.result(cell) / "manifest.json").exists()


def _key(config: RunConfig) -> str:
    """What decides a cell: all settings but the name in tables."""
    return config.evolve(method="").model_dump_json()


def make_cell(place: Place, cell: Cell, command: str, progress: Progress) -> None:
    """Make the set of a cell, train students on it, and keep how they rank the test split."""
    with peak_memory() as peak:
        run = run_distill(
            place.reference,
            cell.config.evolve(method=cell.method),  # what it is called in tables changes no run
            place.cell_folder(cell) / "run",
            heads=place.folder / "heads",
            expert_cache=place.experts,
            resume=True,
            command=command,
            progress=progress,
        )
        row = train_on_sets(run.sets(), place.start, cell.config.evaluate, cell.config.seed)
        used = peak()
    seconds = {**{stage: run.seconds().get(stage, 0.0) for stage in ("experts", "distill")}, "students": row.seconds}
    more = {"size": cell.size, "seconds": seconds, "peak_bytes": used, "judged": judged_of(run)}
    _save(place, cell, row, more)


def fit_baseline(place: Place, cell: BaselineCell) -> None:
    """Fit a baseline and store how it ranks the test split; heads that others are derived from are stored too."""
    fitted = {name: _stored_heads(place, cell, name) for name in cell.baseline.needs}
    setting = Setting(place.data.development(), place.start, cell.evaluate, cell.seed, cell.allowance, fitted)
    with peak_memory() as peak:
        row = check_result(cell.baseline, cell.baseline.fit(setting), place.start)
        used = peak()
    seconds = {"students": row.seconds}
    more = {"size": cell.size, "seconds": seconds, "peak_bytes": used, "judged": row.judged, "label": row.label}
    _save(place, cell, row, more, row.heads if cell.baseline.kind == "full" else None)


def load_result(place: Place, cell: AnyCell) -> Result:
    """A result that was kept. Raises InputError for a damaged one."""
    artifact = load_artifact(place.result(cell), KIND)
    found = {name: tensor for name, tensor in artifact.tensors.items() if "->" in name}
    num_runs = len(next(iter(found.values())))
    pairs = {name: tuple(name.split("->")) for name in found}
    ranks: list[Ranks] = [
        {(pairs[name][0], pairs[name][1]): tensor[run] for name, tensor in found.items()} for run in range(num_runs)
    ]
    order = [(m, n) for m in place.data.modalities for n in place.data.modalities if m != n]
    return Result([{pair: each[pair] for pair in order} for each in ranks], artifact.meta)


def judged_of(run: Run) -> int:
    """Students that validation compared to choose the set and its recipe, over all parts."""
    return sum(
        int(record.values.get("judged", 0)) for part in run.parts for record in read_records(part.folder / METRICS)
    )


def _stored_heads(place: Place, cell: BaselineCell, name: str) -> TrainedHeads:
    """A baseline without a size, as it was stored."""
    needed = BaselineCell(baselines.build(name), cell.evaluate, cell.seed)
    artifact = load_artifact(place.result(needed), KIND)
    heads: StackedHeads = {name: artifact.tensors[f"heads/{name}"] for name in place.start}
    meta = artifact.meta
    return TrainedHeads(meta["label"], (heads,), 0, meta["seconds"]["students"], {}, meta["judged"])


def _save(
    place: Place, cell: AnyCell, row: TrainedHeads, more: dict[str, Any], heads: StackedHeads | None = None
) -> None:
    runs = ranks_on_test(row, place.data.split("test"))
    tensors = {"->".join(pair): torch.stack([run[pair] for run in runs]) for pair in runs[0]}
    tensors |= {f"heads/{name}": stacked for name, stacked in (heads or {}).items()}
    save_artifact(place.result(cell), KIND, tensors, {"bytes": row.bytes, "settings": dict(row.settings), **more})
