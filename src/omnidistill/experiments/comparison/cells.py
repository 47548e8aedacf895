"""Process one entry of a comparison: distil the set of a cell or fit a baseline, and rank the test split."""

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
    """Result of a cell or baseline: one dict of ranks per run, and the costs."""

    ranks: list[Ranks]
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
    """Distil the set of a cell, train students on it, and store their ranks on the test split."""
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
    """Fit a baseline and store its ranks on the test split.

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
    ranks_by_name = {name: tensor for name, tensor in tensors.items() if "->" in name}
    num_runs = len(next(iter(ranks_by_name.values())))
    pairs = {name: tuple(name.split("->")) for name in ranks_by_name}
    ranks: list[Ranks] = [
        {(pairs[name][0], pairs[name][1]): tensor[run] for name, tensor in ranks_by_name.items()}
        for run in range(num_runs)
    ]
    order = [(m, n) for m in context.data.modalities for n in context.data.modalities if m != n]
    return Result([{pair: each[pair] for pair in order} for each in ranks], meta)


def num_compared_students(result: DistillResult) -> int:
    """Return how many students were compared on validation, over all parts, to choose the set and its recipe."""
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
    runs = ranks_on_test(row, context.data.split("test"))
    tensors = {"->".join(pair): torch.stack([run[pair] for run in runs]) for pair in runs[0]}
    tensors |= {f"heads/{name}": stacked.cpu() for name, stacked in (heads or {}).items()}
    context.store.save(cell, tensors, {"bytes": row.bytes, "settings": dict(row.settings), **more})
