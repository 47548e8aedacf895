"""Dry runs of `experts`, `distill` and `compare`: the same functions with fewer steps, in memory, timed and scaled."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

import torch

from omnidistill.core.device import resolve_device
from omnidistill.core.engines import Engine
from omnidistill.core.memory import peak_memory
from omnidistill.data.datasets import Data, opened
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet
from omnidistill.distillation.loop_settings import LoopSettings
from omnidistill.experiments.comparison.cells import ComparisonContext, run_cell
from omnidistill.experiments.comparison.compare import base_config
from omnidistill.experiments.comparison.plan import Cell, plan_baselines, plan_cells
from omnidistill.experiments.comparison.result_store import MemoryStore
from omnidistill.experiments.config import ComparisonConfig, MethodEntry, RunConfig, load_comparison, requested_config
from omnidistill.experiments.config.budgets import run_bytes
from omnidistill.experiments.dry_run.baseline_estimate import baseline_stages
from omnidistill.experiments.dry_run.cost_estimate import CostEstimate, Stage
from omnidistill.experiments.dry_run.expert_estimate import ExpertEstimate, bytes_of
from omnidistill.experiments.dry_run.parallel_units import start_workers
from omnidistill.experiments.dry_run.stage_clock import HEADS, EnoughError, StageClock, TimedStage
from omnidistill.experiments.run import (
    ExpertSource,
    InitialHeads,
    distill,
    given_heads,
    load_initial_set,
    load_or_create_heads,
)
from omnidistill.experiments.run.start_heads import GivenHeads
from omnidistill.io.tracking import Progress, shown
from omnidistill.methods.recipe_choice import TunedMethod
from omnidistill.models.heads import Heads
from omnidistill.training.experts import ExpertBuffer

_ITERATIONS, _STUDENT_STEPS = 6, 256
"""Outer iterations of a dry run, and steps of the students that a recipe is chosen with."""


def estimate_experts(
    data: Data,
    *,
    heads: GivenHeads | None = None,
    engine: Engine | str = "local",
    device: str | torch.device = "auto",
    progress: Progress | bool = True,
    **settings: Any,
) -> CostEstimate:
    """Return what `train_experts` will take with the same arguments.

    Raises:
        InputError: what `train_experts` refuses before it starts.
    """
    config, clock = requested_config(**settings), StageClock(shown(progress))
    with peak_memory() as peak, clock:
        features = opened(data, config.modalities)
        config.experts.objective.bind(features.modalities)
        given, place = given_heads(heads, features.widths), resolve_device(device)
        at_once, workers, notes = start_workers(engine, str(place))
        features, source = features.to(place), ExpertEstimate(clock)
        start = _start(features, config, given, clock)
        source(features, start, config, clock)
        *before, experts = [_heads_stage(clock, config, start), *workers, *source.stages]
        elapsed = sum(stage.seconds for stage in before) + experts.seconds / min(at_once, config.experts.num_experts)
        return CostEstimate((*before, experts), len(features.split("train")), peak(), tuple(notes), elapsed)


def estimate_distill(
    data: Data,
    *,
    heads: GivenHeads | None = None,
    experts: Path | ExpertBuffer | None = None,
    initial_set: DistilledSet | Path | None = None,
    device: str | torch.device = "auto",
    progress: Progress | bool = True,
    **settings: Any,
) -> CostEstimate:
    """Return what `distill` will take with the same arguments.

    Raises:
        InputError: what `distill` refuses.
    """
    usual_size = None if initial_set is None else load_initial_set(initial_set).size
    config, clock = requested_config(**settings, usual_size=usual_size), StageClock(shown(progress))
    source, few = ExpertEstimate(clock), _with_few_steps(config)
    with peak_memory() as peak, clock:
        features, started_at = opened(data), time.monotonic()
        given: dict[str, Any] = {"heads": heads, "experts": experts, "initial_set": initial_set, "device": device}
        given |= {"expert_source": source, "progress": clock}
        try:
            result = distill(features, config=few, **given)
        except EnoughError:  # heads that take long
            few, started_at = few.evolve(heads=few.heads.evolve(num_epochs=1)), time.monotonic()
            result = distill(features, config=few, **given)
        heads_seconds = [stage.seconds for stage in clock.stages if stage.label == HEADS]
        other = source.seconds + sum(heads_seconds[-1:])
        method = _method_stage(config, clock.stages, max(time.monotonic() - started_at - other, 0.0))
        size = sum(_bytes_of_set(each) for each in result.sets)
        stages = (_heads_stage(clock, config, result.start), *source.stages, replace(method, bytes=size))
        return CostEstimate(stages, len(features.split("train")), peak())


def estimate_comparison(
    data: Data,
    methods: Sequence[str | MethodEntry] | str = (),
    *,
    preset: str | None = None,
    config: ComparisonConfig | Path | None = None,
    heads: GivenHeads | None = None,
    engine: Engine | str = "local",
    device: str | torch.device = "auto",
    progress: Progress | bool = True,
    **settings: Any,
) -> CostEstimate:
    """Return what `compare` will take in an empty folder with the same arguments.

    One set is made for every method and size, and counted for every seed. Shared experts and baselines count once.

    Raises:
        InputError: what `compare` refuses before it starts.
    """
    comparison = load_comparison(config, preset, methods, **settings)[1]
    clock, base = StageClock(shown(progress)), base_config(comparison)
    with peak_memory() as peak, clock:
        features = opened(data, base.modalities)
        features.development(), features.split("test")
        cells = plan_cells(comparison, features)
        given, place = given_heads(heads, features.widths), resolve_device(device)
        at_once, workers, notes = start_workers(engine, str(place))
        features = features.to(place)
        start, source = _start(features, base, given, clock), ExpertEstimate(clock)
        before = [_heads_stage(clock, base, start), *workers]
        inputs = ComparisonContext(features, start, _Store(train=source), start.meta)
        baselines = baseline_stages(inputs, plan_baselines(comparison, base.evaluate, cells, features, start), clock)
        same: dict[tuple[str, int, int | None], list[Cell]] = {}
        for cell in cells:
            same.setdefault((cell.method, cell.size, cell.budget), []).append(cell)
        sets = []
        for (method, size, _), seeds in same.items():
            try:
                sets.append(_cell_stage(inputs, seeds[0], len(seeds), source))
            except Exception as error:  # `compare` continues with the other methods too
                notes.append(f"{method}, {size} rows: fails with '{' '.join(str(error).split())}'")
        units = [stage.seconds / (stage.steps if stage in sets else 1) for stage in (*source.stages, *baselines, *sets)]
        total = sum(stage.seconds for stage in (*source.stages, *baselines, *sets))
        elapsed = sum(stage.seconds for stage in before) + max(total / at_once, *units)
        stages = (*before, *source.stages, *baselines, *sets)
        return CostEstimate(stages, len(features.split("train")), peak(), tuple(notes), elapsed)


@dataclass(frozen=True)
class _Store(MemoryStore):
    """The results of a dry run, which train few experts."""

    train: ExpertSource = field(kw_only=True)

    def experts(self, data: FeatureSet, start: Heads, config: RunConfig, progress: Progress) -> ExpertBuffer:
        """Return few experts."""
        return self.train(data, start, config, progress)


def _cell_stage(place: ComparisonContext, cell: Cell, count: int, source: ExpertEstimate) -> Stage:
    """Return the stage that makes and scores so many sets of a method and size."""
    clock, started_at, before = StageClock(source.clock.shown), time.monotonic(), source.seconds
    few = replace(cell, config=_with_few_steps(cell.config))
    run_cell(place, few, "", clock)
    method = _method_stage(cell.config, clock.stages, time.monotonic() - started_at - source.seconds + before)
    ranks, _ = place.store.load(few)
    size = run_bytes(cell.config, place.data.widths) + sum(tensor.nbytes for tensor in ranks.values())
    name = f"{cell.method}, {cell.size} rows"
    return Stage(name, count, "sets", count * method.seconds, count * size, about=method.about)


def _start(data: FeatureSet, config: RunConfig, given: InitialHeads | None, clock: StageClock) -> InitialHeads:
    """Return the initial heads, or those of one epoch if all epochs take long."""
    try:
        return load_or_create_heads(data, config, None, given, clock)
    except EnoughError:
        return load_or_create_heads(data, config.evolve(heads=config.heads.evolve(num_epochs=1)), None, given)


def _heads_stage(clock: StageClock, config: RunConfig, start: Heads) -> Stage:
    timed = next((stage for stage in clock.stages if stage.label == HEADS), None)
    steps = config.heads.num_epochs if timed else 0
    return Stage(HEADS, steps, "epochs", timed.seconds_of(steps) if timed else 0.0, bytes_of(start))


def _with_few_steps(config: RunConfig) -> RunConfig:
    method = config.distill
    if isinstance(method, LoopSettings):
        return config.evolve(distill=method.evolve(iterations=min(method.iterations, _ITERATIONS)))
    if isinstance(method, TunedMethod):
        return config.evolve(distill=method.evolve(max_steps=min(method.max_steps, _STUDENT_STEPS)))
    return config


def _method_stage(config: RunConfig, timed: Sequence[TimedStage], seconds: float) -> Stage:
    """Return the stage of the method: the seconds that it took with few steps, and those of the missing steps."""
    settings, timed = config.distill, [stage for stage in timed if stage.label != HEADS and stage.ticks]
    if isinstance(settings, LoopSettings):
        steps = len(timed) * settings.iterations
        return Stage("distill", steps, "iterations", seconds + sum(_missing_iterations(settings, t) for t in timed))
    if isinstance(settings, TunedMethod):
        missing = [_missing_steps(settings, stage) for stage in timed]
        return Stage(
            "distill", sum(n for n, _ in missing), "student steps", seconds + sum(s for _, s in missing), about=True
        )
    return Stage("distill", settings.num_stored, "rows", seconds)


def _missing_iterations(settings: LoopSettings, timed: TimedStage) -> float:
    """Return the seconds of the iterations and validations that a dry run leaves out; it validates first and last."""
    taken = timed.intervals
    step = median(taken[1:-1] or taken)
    missing = (settings.iterations - len(taken)) * step
    if settings.validate_every and len(taken) > 1:
        validations = 1 + -(-settings.iterations // settings.validate_every)
        missing += max(validations - 2, 0) * max(taken[-1] - step, 0.0)
    return missing


def _missing_steps(settings: TunedMethod, timed: TimedStage) -> tuple[int, float]:
    """Return the steps of all students, and the seconds of those left out: all steps for a rate that did not end."""
    previous_time, previous, pairs = timed.started_at, 0, list[tuple[int, float]]()
    for at, n, fields in timed.ticks:
        if not n:
            pairs.append((fields["steps"] - (previous if fields["steps"] > previous else 0), at - previous_time))
            previous = fields["steps"]
        previous_time = at
    done, last = sum(steps for steps, _ in pairs), max(fields.get("steps", 0) for _, _, fields in timed.ticks)
    going_on = sum(fields.get("steps") == _STUDENT_STEPS for _, _, fields in timed.ticks)
    left, scores = settings.max_steps - last, max(settings.max_steps // max(last, 1), 1).bit_length() - 1
    if len({steps for steps, _ in pairs}) < 2 or left <= 0:
        return done, 0.0
    slope, score = linear_regression(*zip(*pairs, strict=True))
    return done + going_on * left, going_on * max(left * slope + scores * score, 0.0)


def _bytes_of_set(distilled: DistilledSet) -> int:
    means = distilled.preprocessing.means.values()
    return distilled.bytes + sum(mean.numel() * mean.element_size() for mean in means)
