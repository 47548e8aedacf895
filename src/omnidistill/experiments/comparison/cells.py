"""Making an entry of a comparison: the set of a cell and its students, or a baseline; ranked on the test split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from omnidistill.core.memory import peak_memory
from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.baselines import Setting, baselines
from omnidistill.evaluation.distilled_row import train_on_sets
from omnidistill.evaluation.scores import Ranks, ranks_on_test
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.experiments.comparison.plan import AnyCell, BaselineCell, Cell
from omnidistill.experiments.comparison.result_store import ResultStore
from omnidistill.experiments.run import DistillResult, InitialHeads, distill
from omnidistill.experiments.table_baselines import check_result
from omnidistill.io.tracking import Progress
from omnidistill.models.heads import Heads
from omnidistill.training.experts.epochs import StackedHeads


@dataclass(frozen=True)
class Result:
    """What the tables are made of: one dict of ranks per run, and costs."""

    ranks: list[Ranks]
    meta: Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """The inputs that all entries share, and where results are kept.

    Attributes:
        data: the data, on the device of the comparison.
        start: initial heads of every student, on the same device.
        store: keeps results, runs and experts.
        origin: where the initial heads come from.
    """

    data: FeatureSet
    start: Heads
    store: ResultStore
    origin: Mapping[str, Any] = field(default_factory=dict)


def make_cell(place: Place, cell: Cell, command: str, progress: Progress) -> None:
    """Make the set of a cell, train students on it, and store how they rank the test split."""
    folder = place.store.run_folder(cell)
    with peak_memory() as peak:
        result = distill(
            place.data,
            config=cell.config.evolve(method=cell.method),  # the name in tables changes no run
            folder=folder,
            heads=InitialHeads(place.start, place.origin),
            expert_source=place.store.experts,
            resume=folder is not None,
            device=place.data.device,
            progress=progress,
            command=command,
        )
        row = train_on_sets(result.sets, place.start, cell.config.evaluate, cell.config.seed)
        used = peak()
    seconds = {**{stage: result.seconds.get(stage, 0.0) for stage in ("experts", "distill")}, "students": row.seconds}
    more = {"size": cell.size, "seconds": seconds, "peak_bytes": used, "judged": judged_of(result)}
    _save(place, cell, row, more)


def fit_baseline(place: Place, cell: BaselineCell) -> None:
    """Fit a baseline and store how it ranks the test split; heads that others are derived from are stored too."""
    fitted = {name: _stored_heads(place, cell, name) for name in cell.baseline.needs}
    setting = Setting(place.data.development(), place.start, cell.evaluate, cell.seed, cell.allowance, fitted)
    with peak_memory() as peak:
        row = check_result(cell.baseline, cell.baseline.fit(setting), place.start)
        used = peak()
    seconds = {"students": row.seconds}
    more = {"size": cell.size, "seconds": seconds, "peak_bytes": used, "judged": row.num_evaluated, "label": row.label}
    _save(place, cell, row, more, row.heads if cell.baseline.kind == "full" else None)


def load_result(place: Place, cell: AnyCell) -> Result:
    """Return a stored result. Raises InputError if it is damaged."""
    tensors, meta = place.store.load(cell)
    found = {name: tensor for name, tensor in tensors.items() if "->" in name}
    num_runs = len(next(iter(found.values())))
    pairs = {name: tuple(name.split("->")) for name in found}
    ranks: list[Ranks] = [
        {(pairs[name][0], pairs[name][1]): tensor[run] for name, tensor in found.items()} for run in range(num_runs)
    ]
    order = [(m, n) for m in place.data.modalities for n in place.data.modalities if m != n]
    return Result([{pair: each[pair] for pair in order} for each in ranks], meta)


def judged_of(result: DistillResult) -> int:
    """Return the number of students that validation compared to choose the set and its recipe, over all parts."""
    return sum(int(record.values.get("judged", 0)) for part in result.parts for record in part.records)


def _stored_heads(place: Place, cell: BaselineCell, name: str) -> TrainedHeads:
    """Return the stored heads of a baseline without a size."""
    needed = BaselineCell(baselines.build(name), cell.evaluate, cell.seed)
    tensors, meta = place.store.load(needed)
    heads: StackedHeads = {name: tensors[f"heads/{name}"].to(place.data.device) for name in place.start}
    return TrainedHeads(meta["label"], (heads,), 0, meta["seconds"]["students"], {}, meta["judged"])


def _save(
    place: Place, cell: AnyCell, row: TrainedHeads, more: dict[str, Any], heads: StackedHeads | None = None
) -> None:
    runs = ranks_on_test(row, place.data.split("test"))
    tensors = {"->".join(pair): torch.stack([run[pair] for run in runs]) for pair in runs[0]}
    tensors |= {f"heads/{name}": stacked.cpu() for name, stacked in (heads or {}).items()}
    place.store.save(cell, tensors, {"bytes": row.bytes, "settings": dict(row.settings), **more})
