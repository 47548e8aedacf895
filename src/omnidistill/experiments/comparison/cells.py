"""Process one entry of a comparison: distil the set of a cell or fit a baseline, and rank the test split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import torch

from omnidistill.core.memory import peak_memory
from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.baselines import Setting, baselines
from omnidistill.evaluation.directions import Rankings
from omnidistill.evaluation.distilled_row import train_on_sets
from omnidistill.evaluation.ranking import Ranking
from omnidistill.evaluation.scores import rank_runs
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
    """Result of a cell or baseline: the rankings of every run, and the costs."""

    rankings: list[Rankings]
    meta: Mapping[str, Any]


@dataclass(frozen=True)
class ComparisonContext:
    """Inputs that all entries of a comparison share, and the store of their results.

    Attributes:
        data: the data, on the device of the comparison.
        start: initial heads of every student, on the same device.
        store: the store for results, runs and experts.
        origin: where the initial heads come from.
    """

    data: FeatureSet
    start: Heads
    store: ResultStore
    origin: Mapping[str, Any] = field(default_factory=dict)


def run_cell(context: ComparisonContext, cell: Cell, command: str, progress: Progress) -> None:
    """Distil the set of a cell, train students on it, and store their rankings of the test split."""
    folder = context.store.run_folder(cell)
    with peak_memory() as peak:
        result = distill(
            context.data,
            config=cell.config.evolve(method=cell.method),  # the name in tables does not affect the run
            folder=folder,
            heads=InitialHeads(context.start, context.origin),
            expert_source=context.store.experts,
            resume=folder is not None,
            device=context.data.device,
            progress=progress,
            command=command,
        )
        row = train_on_sets(result.sets, context.start, cell.config.evaluate, cell.config.seed)
        used = peak()
    seconds = {**{stage: result.seconds.get(stage, 0.0) for stage in ("experts", "distill")}, "students": row.seconds}
    more = {"size": cell.size, "seconds": seconds, "peak_bytes": used, "judged": num_compared_students(result)}
    _save(context, cell, row, more)


def fit_baseline(context: ComparisonContext, cell: BaselineCell) -> None:
    """Fit a baseline and store its rankings of the test split.

    The heads of `full` are stored as well, because other baselines are derived from them.
    """
    fitted = {name: _stored_heads(context, cell, name) for name in cell.baseline.needs}
    setting = Setting(context.data.development(), context.start, cell.evaluate, cell.seed, cell.allowance, fitted)
    with peak_memory() as peak:
        row = check_result(cell.baseline, cell.baseline.fit(setting), context.start)
        used = peak()
    seconds = {"students": row.seconds}
    more = {"size": cell.size, "seconds": seconds, "peak_bytes": used, "judged": row.num_evaluated, "label": row.label}
    _save(context, cell, row, more, row.heads if cell.baseline.kind == "full" else None)


def load_result(context: ComparisonContext, cell: AnyCell) -> Result:
    """Return a stored result. Raises InputError if it is damaged."""
    tensors, meta = context.store.load(cell)
    stored = {pair: tensors["->".join(pair)] for pair in permutations(context.data.modalities, 2)}
    num_runs = len(next(iter(stored.values())))
    runs = [{pair: Ranking.unpacked(each[run]) for pair, each in stored.items()} for run in range(num_runs)]
    return Result(runs, meta)


def num_compared_students(result: DistillResult) -> int:
    """Return how many students were compared on validation to choose the set and its recipe, summed over all parts."""
    return sum(int(record.values.get("judged", 0)) for part in result.parts for record in part.records)


def _stored_heads(context: ComparisonContext, cell: BaselineCell, name: str) -> TrainedHeads:
    """Return the stored heads of a baseline that does not depend on the size."""
    needed = BaselineCell(baselines.build(name), cell.evaluate, cell.seed)
    tensors, meta = context.store.load(needed)
    heads: StackedHeads = {name: tensors[f"heads/{name}"].to(context.data.device) for name in context.start}
    return TrainedHeads(meta["label"], (heads,), 0, meta["seconds"]["students"], {}, meta["judged"])


def _save(
    context: ComparisonContext,
    cell: AnyCell,
    row: TrainedHeads,
    more: dict[str, Any],
    heads: StackedHeads | None = None,
) -> None:
    gallery = (cell.config.evaluate if isinstance(cell, Cell) else cell.evaluate).gallery
    runs = rank_runs(row, context.data.split("test"), gallery)
    tensors = {"->".join(pair): torch.stack([run[pair].packed() for run in runs]) for pair in runs[0]}
    tensors |= {f"heads/{name}": stacked.cpu() for name, stacked in (heads or {}).items()}
    context.store.save(cell, tensors, {"bytes": row.bytes, "settings": dict(row.settings), **more})
