"""Dry run of the stages of a command: run few steps of each stage in memory, and extrapolate the cost.

The extrapolation assumes that every step of a stage costs the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean, median
from typing import Any, TypeVar

from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.loop_settings import LoopSettings
from omnidistill.evaluation.full_training import PATIENCE_EPOCHS
from omnidistill.experiments.comparison.cells import ComparisonContext, fit_baseline
from omnidistill.experiments.comparison.plan import BaselineCell
from omnidistill.experiments.comparison.result_store import MemoryStore
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.dry_run.cost_estimate import Stage
from omnidistill.experiments.dry_run.recorder import Record, Recorder
from omnidistill.experiments.run import load_or_train_experts
from omnidistill.io.tracking import Progress, SilentProgress
from omnidistill.methods.anchor import AnchorMethod
from omnidistill.methods.recipe_choice import TunedMethod
from omnidistill.models.heads import Heads
from omnidistill.training.experts import ExpertBuffer, Start, train_experts
from omnidistill.training.experts.buffer import squared_distances

T = TypeVar("T")
_SECONDS = 15.0  # of a search, about
_USUAL_EPOCHS = 24  # that validation chooses on the bundled set, for a search that did not end
_EPOCHS, _RUNS, _STEPS, _ITERATIONS, _STUDENT_STEPS = 4, 2, 64, 6, 512
_BYTES_PER_SECOND = 4e8  # written, with the checksum


def grown(run: Callable[[int], T], least: int, most: int) -> tuple[T, int, float]:
    """Call `run` with increasing numbers of steps, until a call takes several seconds or has `most` steps.

    Each number of steps is extrapolated from the time of the previous call. Since the first call also includes one-time
    work, such as imports, two calls may not be enough.

    Args:
        run: function that takes a number of steps and runs them.
        least: number of steps of the first call.
        most: maximum number of steps.

    Returns:
        The result of the last call, its number of steps, and its duration in seconds.
    """
    steps = min(least, most)
    while True:
        started_at = time.monotonic()
        result = run(steps)
        seconds = time.monotonic() - started_at
        if steps == most or seconds > _SECONDS / 2:
            return result, steps, seconds
        steps = min(most, max(2 * steps, int(steps * _SECONDS / max(seconds, 0.01))))


def likely_epochs(limit: int, most: int) -> int:
    """Return the likely number of epochs of a run that was stopped after `limit` epochs, before it ended.

    The estimate is 4/3 of `limit`, at least `_USUAL_EPOCHS` and at most `most`.
    """
    return limit if limit == most else min(most, max(_USUAL_EPOCHS, limit * 4 // 3))


def size_of(tensors: Mapping[str, Tensor]) -> int:
    """Return the total size of the tensors in bytes."""
    return sum(tensor.nbytes for tensor in tensors.values())


@dataclass(frozen=True)
class DryRunStore(MemoryStore):
    """Stores the results of a dry run. Trains only a few experts, and estimates the cost of training all of them.

    Attributes:
        shown: the display that shows the progress to the user.
        stages: the estimated stages of expert training.
        spent: duration of each call of `experts`, in seconds.
    """

    shown: Progress = field(default_factory=SilentProgress)
    stages: list[Stage] = field(default_factory=list)
    spent: list[float] = field(default_factory=list)

    def experts(self, data: FeatureSet, start: Heads, config: RunConfig, progress: Progress) -> ExpertBuffer:
        """Return a few experts with these settings, at least one for every set of initial heads.

        If the settings fix the number of epochs, the experts are trained for that number.
        """
        started_at, key = time.monotonic(), f"{data.modalities} {config.experts!r}"
        if key not in self._experts:
            self._experts[key] = self._train(data, start, config)
        self.spent.append(time.monotonic() - started_at)
        return self._experts[key]

    def _train(self, data: FeatureSet, start: Heads, config: RunConfig) -> ExpertBuffer:
        settings, longest = config.experts, config.experts.num_epochs or config.evaluate.max_epochs
        others, runs = settings.num_starts - 1, settings.num_experts
        few_experts = settings.evolve(num_experts=max(1, 2 * others))

        def train(epochs: int) -> tuple[ExpertBuffer, list[Record]]:
            evaluate, recorder = config.evaluate.evolve(max_epochs=epochs), Recorder(self.shown)
            few = config.evolve(experts=few_experts, evaluate=evaluate)
            return load_or_train_experts(data, start, few, None, recorder), recorder.stages

        least = settings.num_epochs or max(_EPOCHS, config.distill.last_expert_epoch)
        (buffer, records), few, seconds = grown(train, least, longest)
        count, taken = 0, 0.0
        for record in records[:-1]:
            epochs = sum(likely_epochs(n, longest) if n == few else n for n in record.epochs)
            count, taken = count + epochs, taken + record.seconds * epochs / (sum(record.epochs) or 1)
        if records[:-1]:
            self.stages.append(Stage("starts", count, "epochs", taken, about=longest != settings.num_epochs))
        cut = few - PATIENCE_EPOCHS if few < longest else longest  # a later best epoch may not be the last one
        last_epochs = [likely_epochs(n, longest) if n > cut else n for n in buffer.last_epochs]
        started_at = time.monotonic()
        squared_distances(buffer.snapshots, buffer.modalities)
        grow, more = (max(last_epochs) + 1) / len(buffer.snapshots), runs / buffer.num_experts
        seconds += more * grow**2 * (time.monotonic() - started_at) - sum(record.seconds for record in records)
        size = more * (grow * buffer.bytes + grow**2 * buffer.squared_distances.nbytes) + others * size_of(start)
        size += sum(values.nbytes for values in buffer.spectra.values())
        recorder, alone = Recorder(self.shown), settings.evolve(num_starts=1, random_starts=0)
        two_epochs = Start(start, settings.learning_rate or config.evaluate.learning_rates[0], 2)
        train_experts([two_epochs], data.split("train"), alone, seed=config.seed, progress=recorder)
        first, second = recorder.stages[0].durations
        seconds += first + (mean(last_epochs) - 1) * second + size / _BYTES_PER_SECOND
        unit = f"epochs of {runs} run{'s' if runs > 1 else ''}"
        self.stages.append(Stage("experts", max(last_epochs), unit, seconds, round(size), settings.num_epochs is None))
        return buffer


def heads_stage(recorder: Recorder, heads: Heads) -> Stage:
    """Return the cost of pre-training the initial heads. A dry run trains them completely, because this is fast."""
    records = [record for record in recorder.stages if record.label == "heads"]
    seconds = sum((record.seconds for record in records), 0.0)
    return Stage("heads", sum(sum(record.epochs) for record in records), "epochs", seconds, size_of(heads))


def with_few_steps(config: RunConfig) -> RunConfig:
    """Return the settings of a dry run.

    A method that learns the set has few iterations. A method that selects or computes the rows trains students to
    choose the recipe; these students have few steps.
    """
    method = config.distill
    if isinstance(method, LoopSettings | AnchorMethod):
        return config.evolve(distill=method.evolve(iterations=min(method.iterations, _ITERATIONS)))
    if isinstance(method, TunedMethod):
        return config.evolve(distill=method.evolve(max_steps=min(method.max_steps, _STUDENT_STEPS)))
    return config


def method_stage(config: RunConfig, recorder: Recorder, seconds: float) -> Stage:
    """Return the estimated cost of a method, extrapolated from the `seconds` that it took with few steps."""
    method, records = config.distill, [r for r in recorder.stages if r.label != "heads" and r.calls]
    if isinstance(method, LoopSettings | AnchorMethod):
        seconds += sum(_missing_iterations(method, record.durations) for record in records)
        return Stage("distill", len(records) * method.iterations, "iterations", seconds)
    if isinstance(method, TunedMethod):
        seconds += sum(_missing_student_steps(method, record) for record in records)
        steps = len(records) * len(method.learning_rates) * method.max_steps
        return Stage("distill", steps, "student steps", seconds, about=True)
    return Stage("distill", method.num_stored, "rows", seconds)


def _missing_iterations(method: LoopSettings | AnchorMethod, durations: Sequence[float]) -> float:
    """Estimate the seconds for the iterations and validations that the dry run skipped.

    The loop also validates before the first iteration and after the last one.
    """
    step, every = median(durations[1:-1] or durations), method.validate_every or method.iterations
    validations = -(-method.iterations // every) + (-len(durations) // every)
    return (method.iterations - len(durations)) * step + validations * max(durations[-1] - step, 0.0)


def _missing_student_steps(method: TunedMethod, record: Record) -> float:
    """Estimate the seconds for the student steps that the dry run skipped.

    The number of steps doubles from one checkpoint to the next, so half of all steps lie between the last two
    checkpoints. The time of this half is measured and extrapolated. Step sizes whose students did not reach the last
    checkpoint of the dry run are ignored.
    """
    calls = zip(record.durations, record.calls, strict=True)
    last = sum(seconds for seconds, (*_, fields) in calls if fields.get("steps") == _STUDENT_STEPS)
    return last * max(method.max_steps - _STUDENT_STEPS, 0) / (_STUDENT_STEPS / 2)


def baseline_stage(context: ComparisonContext, cell: BaselineCell) -> Stage:
    """Return the estimated cost of a baseline.

    The estimate is extrapolated from a fit with two runs, in which every setting that validation chooses has only one
    candidate.
    """
    own, full = cell.baseline, cell.evaluate
    values = {name: getattr(own, name) for name in ("learning_rates", "ridges") if hasattr(own, name)}
    longest: int | None = getattr(own, "max_steps", None)

    def fit(steps: int) -> tuple[Any, Any]:
        one: dict[str, Any] = {name: (_middle(tried),) for name, tried in values.items()}
        epochs = {"max_epochs": steps} if longest is None else {}
        few = full.evolve(num_seeds=_RUNS, learning_rates=(_middle(full.learning_rates),), **epochs)
        baseline = own.evolve(**one, **({} if longest is None else {"max_steps": steps}))
        small = replace(cell, baseline=baseline, evaluate=few)
        fit_baseline(context, small)
        return context.store.load(small)

    least, most = (_EPOCHS, full.max_epochs) if longest is None else (_STEPS, longest)
    (tensors, result), steps, seconds = grown(fit, least, min(least, most) if own.needs else most)
    chosen, missing, choices = result["settings"], 1.0, len(next(iter(values.values()), full.learning_rates))
    if longest is not None:
        unit, search, last, missing = "steps", 2 * steps, chosen.get("num_steps", 0), longest / steps
    elif "num_epochs" in chosen:
        unit, search, last = "epochs", result["judged"], chosen["num_epochs"]
        if full.protocol == "paper":  # every run has all epochs
            search, last, missing = steps, steps, most / steps
        else:
            missing = likely_epochs(steps, most) / steps if search == steps else 1.0
    else:
        unit, search, last, choices = "fits", int(not own.needs), int(bool(own.needs)), choices if values else 1
    total = missing * (choices * search + full.num_seeds * last)
    size = sum(tensor.nbytes * (full.num_seeds / _RUNS if len(tensor) == _RUNS else 1) for tensor in tensors.values())
    group = f", {cell.budget:,} B" if cell.budget is not None else "" if cell.size is None else f", {cell.size} rows"
    seconds *= total / (search + _RUNS * last)
    return Stage(f"{cell.name}{group}", round(total), unit, seconds, round(size), unit == "epochs")


def _middle(values: Sequence[float]) -> float:
    return values[(len(values) - 1) // 2]
