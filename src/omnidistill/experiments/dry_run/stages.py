"""Estimate the cost of each stage of a command.

Each stage runs only a few steps, and writes nothing to disk. Its seconds and bytes are then scaled to all steps.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.experiments.comparison.cells import ComparisonContext, fit_baseline, run_cell
from omnidistill.experiments.comparison.plan import AnyCell, BaselineCell, Cell
from omnidistill.experiments.comparison.result_store import MemoryStore
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.config.budgets import run_bytes
from omnidistill.experiments.dry_run.cost_estimate import Stage
from omnidistill.experiments.dry_run.few_steps import Record, Recorder, searched, with_few_steps
from omnidistill.experiments.run import load_or_train_experts
from omnidistill.io.tracking import Progress, SilentProgress
from omnidistill.models.heads import Heads
from omnidistill.training.experts import ExpertBuffer

_EPOCHS, _RUNS = 4, 2  # epochs of the shortest search; runs of a baseline, or of experts from the same heads


def size_of(tensors: Mapping[str, Tensor]) -> int:
    """Return the total size of the tensors in bytes."""
    return sum(tensor.nbytes for tensor in tensors.values())


def heads_stage(recorder: Recorder, heads: Heads) -> Stage:
    """Return the stage of pre-training the initial heads, with its measured cost.

    A dry run trains the initial heads completely, because this is fast.
    """
    records = [record for record in recorder.stages if record.label == "heads"]
    seconds = sum((record.seconds for record in records), 0.0)
    return Stage("heads", sum(record.epochs for record in records), "epochs", seconds, size_of(heads))


@dataclass(frozen=True)
class DryRunStore(MemoryStore):
    """Stores results in memory, trains only a few experts, and estimates the cost of training all of them.

    If experts start from several different initial heads, at least one expert is trained from each of them.

    Attributes:
        shown: display that shows the progress to the user.
        stages: estimated cost of training all experts. If validation chooses their step size and number of epochs, this
            choice is a separate stage.
        spent: for each training of experts, the seconds that the dry run took for it.
    """

    shown: Progress = field(default_factory=SilentProgress)
    stages: list[Stage] = field(default_factory=list)
    spent: list[float] = field(default_factory=list)

    def _train(self, data: FeatureSet, start: Heads, config: RunConfig, progress: Progress) -> ExpertBuffer:
        started_at, settings, others = time.monotonic(), config.experts, config.experts.num_starts - 1
        few = settings.evolve(num_experts=min(settings.num_experts, _RUNS * max(1, others)))

        def train(limit: int) -> tuple[tuple[ExpertBuffer, list[Record]], int]:
            recorder, evaluate = Recorder(self.shown), config.evaluate.evolve(max_epochs=limit)
            small = config.evolve(experts=few, evaluate=evaluate)
            buffer = load_or_train_experts(data, start, small, None, recorder)
            return (buffer, recorder.stages), buffer.num_epochs

        longest, about = config.evaluate.max_epochs, settings.num_epochs is None
        least = max(_EPOCHS, config.distill.last_expert_epoch) if about else longest
        (buffer, (*search, _)), seconds, factor = searched(train, least, longest)
        taken, more = sum((record.seconds for record in search), 0.0), factor * settings.num_experts / few.num_experts
        if search:
            steps = round(factor * sum(record.epochs for record in search))
            self.stages.append(Stage("starts", steps, "epochs", factor * taken, about=about))
        size = (
            more * (buffer.bytes + buffer.squared_distances.nbytes) + size_of(buffer.spectra) + others * size_of(start)
        )
        unit = f"epochs of {settings.num_experts} run{'s' if settings.num_experts > 1 else ''}"
        epochs = round(factor * buffer.num_epochs)
        self.stages.append(Stage("experts", epochs, unit, more * (seconds - taken), round(size), about))
        self.spent.append(time.monotonic() - started_at)
        return buffer

    def _key(self, cell: AnyCell) -> str:
        return cell.title  # without the settings, because those of a dry run vary


def method_stage(config: RunConfig, recorder: Recorder, seconds: float) -> Stage:
    """Estimate the cost of distilling a set. The estimate extrapolates the measured cost of a run with few steps.

    Args:
        config: settings of the complete run.
        recorder: the recorded stages of the run with few steps.
        seconds: duration of the run with few steps.
    """
    method = config.distill
    iterations, few = (getattr(each, "iterations", None) for each in (method, with_few_steps(method)))
    records = [record for record in recorder.stages if record.label != "heads" and record.calls]
    if iterations is not None:
        seconds += sum((iterations - few) * record.step_seconds for record in records)
        return Stage("distill", len(records) * iterations, "iterations", seconds)
    rates = len(getattr(method, "learning_rates", ())) or 1
    return Stage("distill", method.num_stored, "rows", seconds + sum((rates - 1) * each.seconds for each in records))


def sets_stage(context: ComparisonContext, store: DryRunStore, cells: Sequence[Cell]) -> Stage:
    """Estimate the stage that distils sets which differ only in their seed.

    Only the first set is distilled, with few steps. Its cost is scaled to all steps and to the number of sets.
    """
    first, count, recorder, spent = cells[0], len(cells), Recorder(store.shown), sum(store.spent)
    small = first.config.evolve(distill=with_few_steps(first.config.distill))
    few, started_at = replace(first, config=small), time.monotonic()
    run_cell(context, few, "", recorder)
    seconds = time.monotonic() - started_at - sum(store.spent) + spent
    size = run_bytes(first.config, context.data.widths, context.data.preprocessing) + size_of(store.load(few)[0])
    seconds = count * method_stage(first.config, recorder, seconds).seconds
    return Stage(f"{first.method}, {first.size} rows", count, "sets", seconds, count * size)


def baseline_stage(context: ComparisonContext, cell: BaselineCell) -> Stage:
    """Estimate the cost of fitting a baseline.

    The baseline is fitted with only one of the candidate step sizes and with two runs. The cost is then scaled to all
    step sizes and runs.
    """
    seeds, longest, own = cell.evaluate.num_seeds, cell.evaluate.max_epochs, with_few_steps(cell.baseline)

    def fit(limit: int) -> tuple[Mapping[str, Tensor], int]:
        evaluate = with_few_steps(cell.evaluate).evolve(num_seeds=_RUNS, max_epochs=limit)
        small = replace(cell, baseline=own, evaluate=evaluate)
        fit_baseline(context, small)
        tensors, meta = context.store.load(small)
        return tensors, meta["settings"].get("num_epochs", 0)

    tensors, seconds, factor = searched(fit, longest if cell.evaluate.protocol == "paper" else _EPOCHS, longest)
    several = len(next(iter(tensors.values()))) == _RUNS  # a closed form has one run
    rates = getattr(cell.baseline, "learning_rates", cell.evaluate.learning_rates if several else (1,))
    few, all_trainings = (1 + _RUNS, len(rates) + seeds) if several else (1, len(rates))
    size = sum(tensor.nbytes * (seeds / _RUNS if len(tensor) == _RUNS else 1) for tensor in tensors.values())
    group = f", {cell.budget:,} B" if cell.budget is not None else "" if cell.size is None else f", {cell.size} rows"
    name, seconds = f"{cell.name}{group}", factor * seconds * all_trainings / few
    return Stage(name, all_trainings, "trainings", seconds, round(size))
