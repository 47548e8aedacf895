"""Making one cell or reference and keeping its result: the rank of the first positive of every test query, and costs.

A result is an artifact of kind "result": tensors "query->gallery" (R runs x n queries, float64), meta size, seconds,
bytes, peak_bytes, judged, settings, and the label of a reference. What is there is not made again, so a comparison goes
on where it was cut. The full run keeps its heads too: the line of equal bytes is cut from them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from omnidistill.config import HopaConfig, PairwiseConfig, Reference, RunConfig, StorageConfig
from omnidistill.core.memory import peak_memory
from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.equal_bytes import equal_bytes_line
from omnidistill.evaluation.line import Line
from omnidistill.evaluation.lines import (
    cca_line,
    distilled_line,
    full_line,
    random_line,
    zero_shot_line,
)
from omnidistill.evaluation.low_rank import low_rank_line
from omnidistill.evaluation.scores import Ranks, line_ranks
from omnidistill.evaluation.validation import doubling_steps
from omnidistill.experiments.comparison.plan import AnyCell, Cell, ReferenceCell
from omnidistill.experiments.run import Run, fingerprint, heads_fingerprint, run_distill
from omnidistill.experiments.run_page import read_records
from omnidistill.io.artifacts import load_artifact, save_artifact
from omnidistill.io.tracking import Progress
from omnidistill.models.heads import Heads
from omnidistill.models.objectives import InfoNCE, objective_from
from omnidistill.training.experts.epochs import StackedHeads

KIND = "result"
_RANDOM_BATCH, _RANDOM_STEPS = 128, 2048  # as for sets whose recipe is chosen


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
        """Where a result is kept."""
        if isinstance(cell, Cell):
            return self.folder / "cells" / cell.folder / "result"
        return self.folder / "references" / cell.folder

    def has(self, cell: AnyCell) -> bool:
        """Whether the result is there, whole."""
        return (self.result(cell) / "manifest.json").exists()


def make_cell(place: Place, cell: Cell, command: str, progress: Progress) -> None:
    """Make the set of a cell, train students on it, and keep how they rank the test split."""
    with peak_memory() as peak:
        run = run_distill(
            place.reference,
            cell.config.model_copy(update={"method": cell.method}),  # what it is called in tables changes no run
            place.folder / "cells" / cell.folder / "run",
            heads=place.folder / "heads",
            shelf=place.experts,
            resume=True,
            command=command,
            progress=progress,
        )
        line = distilled_line(run.sets(), place.start, cell.config.evaluate, cell.config.seed)
        used = peak()
    seconds = {**{stage: run.seconds().get(stage, 0.0) for stage in ("experts", "distill")}, "students": line.seconds}
    more = {"size": cell.size, "seconds": seconds, "peak_bytes": used, "judged": judged_of(run)}
    _keep(place, cell, line, more)


def make_reference(place: Place, cell: ReferenceCell) -> None:
    """Train a reference line and keep how it ranks the test split."""
    with peak_memory() as peak:
        line = _makers(place, cell)[cell.name]()
        used = peak()
    seconds = {"students": line.seconds}
    more = {"size": cell.size, "seconds": seconds, "peak_bytes": used, "judged": line.judged, "label": line.label}
    _keep(place, cell, line, more, line.heads if cell.name == "full" else None)


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
    return sum(int(record.get("judged", 0)) for part in run.parts for record in read_records(part.folder))


def _makers(place: Place, cell: ReferenceCell) -> dict[Reference, Callable[[], Line]]:
    data, start, evaluate, seed = place.data.development(), place.start, cell.evaluate, cell.seed
    size, row_bytes = cell.size or 0, 4 * sum(place.data.widths.values())
    names = place.data.modalities
    least_side = min(min(matrix.shape) for matrix in start.values())

    def own(objective: HopaConfig | PairwiseConfig, label: str) -> Line:
        return full_line(objective_from(objective, names), f"all rows, {label}", start, data, evaluate, seed)

    return {
        "zero-shot": lambda: zero_shot_line(start),
        "full": lambda: full_line(InfoNCE(evaluate.tau), "all rows, InfoNCE", start, data, evaluate, seed),
        "full-hopa": lambda: own(HopaConfig(), "HoPA"),
        "full-pairwise-wbce": lambda: own(PairwiseConfig(), "pairwise wBCE"),
        "cca": lambda: cca_line(start, data),
        "random": lambda: random_line(
            InfoNCE(evaluate.tau),
            size,
            start,
            data,
            evaluate,
            seed,
            batch_size=min(_RANDOM_BATCH, size),
            steps=doubling_steps(_RANDOM_STEPS),
        ),
        "low-rank": lambda: low_rank_line(min(size, least_side), start, data, evaluate, seed),
        "equal-bytes": lambda: equal_bytes_line(_full(place, cell), start, cell.budget or size * row_bytes),
        "equal-bytes-4-bit": lambda: equal_bytes_line(
            _full(place, cell), start, cell.budget or size * row_bytes, StorageConfig(bits=4)
        ),
    }


def _full(place: Place, cell: ReferenceCell) -> Line:
    """The full line as it was kept."""
    artifact = load_artifact(place.result(replace(cell, name="full", size=None, budget=None)), KIND)
    heads: StackedHeads = {name: artifact.tensors[f"heads/{name}"] for name in place.start}
    meta = artifact.meta
    return Line(meta["label"], (heads,), 0, meta["seconds"]["students"], {}, meta["judged"])


def _keep(place: Place, cell: AnyCell, line: Line, more: dict[str, Any], heads: StackedHeads | None = None) -> None:
    runs = line_ranks(line, place.data.split("test"))
    tensors = {"->".join(pair): torch.stack([run[pair] for run in runs]) for pair in runs[0]}
    tensors |= {f"heads/{name}": stacked for name, stacked in (heads or {}).items()}
    save_artifact(place.result(cell), KIND, tensors, {"bytes": line.bytes, "settings": line.settings, **more})
