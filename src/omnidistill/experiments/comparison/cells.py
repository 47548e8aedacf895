"""Process one entry of a comparison, and store the retrieval rankings on the test split.

An entry is either a baseline or a cell. A cell is one method with one size and one seed.
Processing a cell means distilling its set and training students on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.core.memory import peak_memory
from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.baselines import Setting
from omnidistill.evaluation.directions import Rankings
from omnidistill.evaluation.distilled_row import train_on_sets
from omnidistill.evaluation.ranking import Ranking
from omnidistill.evaluation.scores import rank_runs
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.experiments.comparison.plan import AnyCell, BaselineCell, Cell
from omnidistill.experiments.comparison.result_store import ResultStore
from omnidistill.experiments.run import DistillResult, InitialHeads, distill
from omnidistill.experiments.run.result import num_candidates
from omnidistill.experiments.table_baselines import check_result
from omnidistill.io.input_files import reading
from omnidistill.io.tracking import Progress
from omnidistill.models.heads import Heads


@dataclass(frozen=True)
class Result:
    """Result of a cell (one method, size and seed) or of a baseline: the rankings of every run, and the costs."""

    rankings: list[Rankings]
    meta: Mapping[str, Any]


@dataclass(frozen=True)
class ComparisonContext:
    """Inputs that all entries of a comparison share, and the store of their results.

    Attributes:
        data: the data, on the device of the comparison.
        start: initial heads of every student, on the same device.
        store: the store for results, runs and experts.
        origin: how the initial heads were obtained, as a JSON object.
    """

    data: FeatureSet
    start: Heads
    store: ResultStore
    origin: Mapping[str, Any] = field(default_factory=dict)


def run_cell(context: ComparisonContext, cell: Cell, command: str, progress: Progress) -> None:
    """Distil the set of a cell (method, size and seed), train students on it, and store their test rankings."""
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

    The heads of the baseline are stored too if other baselines are computed from them. If this baseline is itself
    computed from other baselines, those that are not stored yet are fitted first.
    """
    fitted = {needed.baseline.kind: _stored_heads(context, needed) for needed in cell.needed}
    setting = Setting(context.data.development(), context.start, cell.evaluate, cell.seed, cell.allowance, fitted)
    with peak_memory() as peak:
        row = check_result(cell.baseline, cell.baseline.fit(setting), context.start)
        used = peak()
    seconds = {"students": row.seconds}
    more = {"size": cell.size, "seconds": seconds, "peak_bytes": used, "judged": row.num_evaluated, "label": row.label}
    _save(context, cell, row, more, stores_heads=cell.baseline.stores_heads)


def load_result(context: ComparisonContext, cell: AnyCell) -> Result:
    """Return the stored result of a cell (method, size and seed) or baseline. Raises InputError if it is damaged."""
    tensors, meta = context.store.load(cell)
    with reading(f"the result of {cell.folder}", "delete its folder to compute it again"):
        if isinstance(cell, BaselineCell) and not meta["label"]:
            raise ValueError("label is empty")
        stored = {pair: tensors["->".join(pair)] for pair in permutations(context.data.modalities, 2)}
        num_runs = len(next(iter(stored.values())))
        runs = [{pair: Ranking.unpacked(each[run]) for pair, each in stored.items()} for run in range(num_runs)]
    return Result(runs, meta)


def num_compared_students(result: DistillResult) -> int:
    """Return how many students were compared on validation to choose the set and its recipe.

    If there is one set per pair of modalities, the result is the sum over all pairs.
    """
    return sum(map(num_candidates, result.parts))


def _stored_heads(context: ComparisonContext, cell: BaselineCell) -> TrainedHeads:
    """Return the stored heads of a baseline. If they are not stored, fit the baseline and store them first."""
    if not context.store.has(cell) or not _heads_in(context.store.load(cell)[0], "heads", context):
        fit_baseline(context, cell)
    tensors, meta = context.store.load(cell)
    heads, bias = (_heads_in(tensors, kind, context) for kind in ("heads", "bias"))
    if not heads:
        raise InputError(
            f"baseline '{cell.name}': its heads were not stored, but another baseline needs them; set stores_heads = "
            f"True in the class of '{cell.name}'"
        )
    seconds, judged = meta["seconds"]["students"], meta["judged"]
    return TrainedHeads(meta["label"], (heads,), meta["bytes"], seconds, meta["settings"], judged, bias or None)


def _heads_in(tensors: Mapping[str, Tensor], kind: str, context: ComparisonContext) -> dict[str, Tensor]:
    """Return the stored heads (`kind` "heads") or biases (`kind` "bias") of a baseline, as {modality: tensor}.

    The dict is empty if the baseline stored none.
    """
    names = [name for name in context.start if f"{kind}/{name}" in tensors]
    return {name: tensors[f"{kind}/{name}"].to(context.data.device) for name in names}


def _save(
    context: ComparisonContext,
    cell: AnyCell,
    row: TrainedHeads,
    more: dict[str, Any],
    stores_heads: bool = False,
) -> None:
    gallery = (cell.config.evaluate if isinstance(cell, Cell) else cell.evaluate).gallery
    runs = rank_runs(row, context.data.split("test"), gallery)
    tensors = {"->".join(pair): torch.stack([run[pair].packed() for run in runs]) for pair in runs[0]}
    if stores_heads:
        tensors |= {f"heads/{name}": stacked.cpu() for name, stacked in row.heads.items()}
        tensors |= {f"bias/{name}": shift.cpu() for name, shift in (row.bias or {}).items()}
    context.store.save(cell, tensors, {"bytes": row.bytes, "settings": dict(row.settings), **more})
