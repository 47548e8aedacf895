"""Dry runs of `experts`, `distill` and `compare`: run a few steps in memory and extrapolate the cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from omnidistill.core.device import resolve_device
from omnidistill.core.engines import Engine
from omnidistill.core.memory import peak_memory
from omnidistill.data.datasets import Data, opened
from omnidistill.distillation import DistilledSet
from omnidistill.experiments.comparison.cells import ComparisonContext
from omnidistill.experiments.comparison.compare import base_config, needed_first
from omnidistill.experiments.comparison.plan import Cell, plan_baselines, plan_cells
from omnidistill.experiments.config import ComparisonConfig, MethodEntry, load_comparison, requested_config
from omnidistill.experiments.dry_run.cost_estimate import CostEstimate, Stage
from omnidistill.experiments.dry_run.few_steps import Recorder, with_few_steps
from omnidistill.experiments.dry_run.parallel_units import start_workers
from omnidistill.experiments.dry_run.stages import DryRunStore, baseline_stage, heads_stage, method_stage, sets_stage
from omnidistill.experiments.run import distill, given_heads, load_initial_set, load_or_create_heads
from omnidistill.experiments.run.added_data import config_of
from omnidistill.experiments.run.start_heads import GivenHeads
from omnidistill.io.tracking import Progress, shown
from omnidistill.training.experts import ExpertBuffer


def estimate_experts(
    data: Data,
    *,
    heads: GivenHeads | None = None,
    engine: Engine | str = "local",
    device: str | torch.device = "auto",
    progress: Progress | bool = True,
    **settings: Any,
) -> CostEstimate:
    """Estimate the time, memory and disk space that `train_experts` needs with the same arguments.

    Raises:
        InputError: `train_experts` would reject these arguments before it starts.
    """
    config, recorder = requested_config(**settings), Recorder(shown(progress))
    with peak_memory() as peak, recorder:
        features = opened(data, config.modalities)
        config.experts.objective.bind(features.modalities)
        given, place = given_heads(heads, features.widths), resolve_device(device)
        at_once, workers, notes = start_workers(engine, str(place))
        features = features.to(place)
        start, store = load_or_create_heads(features, config, None, given, recorder), DryRunStore(shown=recorder.shown)
        store.experts(features, start, config, recorder)
        *before, training = [heads_stage(recorder, start), *workers, *store.stages]
        elapsed = sum(stage.seconds for stage in before) + training.seconds / min(at_once, config.experts.num_experts)
        return CostEstimate((*before, training), len(features.split("train")), peak(), tuple(notes), elapsed)


def estimate_distill(
    data: Data,
    *,
    heads: GivenHeads | None = None,
    experts: Path | ExpertBuffer | None = None,
    initial_set: DistilledSet | Path | None = None,
    add_to: DistilledSet | Path | None = None,
    device: str | torch.device = "auto",
    progress: Progress | bool = True,
    **settings: Any,
) -> CostEstimate:
    """Estimate the time, memory and disk space that `distill` needs with the same arguments.

    Raises:
        InputError: `distill` would reject these arguments.
    """
    usual_size = None if initial_set is None else load_initial_set(initial_set).size
    if add_to is not None and not settings.get("preset") and not settings.get("config"):
        settings["config"] = config_of(load_initial_set(add_to))
    config, recorder = requested_config(**settings, usual_size=usual_size), Recorder(shown(progress))
    store = DryRunStore(shown=recorder.shown)
    given: dict[str, Any] = {"heads": heads, "experts": experts, "initial_set": initial_set, "device": device}
    given["add_to"] = add_to
    with peak_memory() as peak, recorder:
        features, started_at = opened(data), time.monotonic()
        few = config.evolve(distill=with_few_steps(config.distill))
        result = distill(features, config=few, expert_source=store.experts, progress=recorder, **given)
        seconds = time.monotonic() - started_at - sum(store.spent)
        first = heads_stage(recorder, result.start)
        size = sum(each.bytes for each in result.sets)
        method = replace(method_stage(config, recorder, seconds - first.seconds), bytes=size)
        return CostEstimate((first, *store.stages, method), len(features.split("train")), peak())


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
    """Estimate the time, memory and disk space that `compare` needs in an empty folder with the same arguments.

    For every method and size, one set is distilled with few steps, and its cost is multiplied by the number of seeds.
    Shared experts and baselines are counted once.

    Raises:
        InputError: `compare` would reject these arguments before it starts.
    """
    comparison = load_comparison(config, preset, methods, **settings)[1]
    base, recorder = base_config(comparison), Recorder(shown(progress))
    with peak_memory() as peak, recorder:
        features = opened(data, base.modalities)
        features.development(), features.split("test")
        cells = plan_cells(comparison, features)
        given, place = given_heads(heads, features.widths), resolve_device(device)
        at_once, workers, notes = start_workers(engine, str(place))
        features = features.to(place)
        start, store = load_or_create_heads(features, base, None, given, recorder), DryRunStore(shown=recorder.shown)
        context = ComparisonContext(features, start, store, start.meta)
        before, baselines, sets = [heads_stage(recorder, start), *workers], list[Stage](), list[Stage]()
        rows = needed_first(plan_baselines(comparison, base.evaluate, cells, features, start))
        recorder.start(len(rows), "baselines")
        for row in rows:
            baselines.append(baseline_stage(context, row))
            recorder.advance()
        same: dict[tuple[str, int, int | None], list[Cell]] = {}
        for cell in cells:
            same.setdefault((cell.method, cell.size, cell.budget), []).append(cell)
        for (method, size, _), seeds in same.items():
            try:
                sets.append(sets_stage(context, store, seeds))
            except Exception as error:  # `compare` continues with the other methods too
                notes.append(f"{method}, {size} rows: fails with '{' '.join(str(error).split())}'")
        units = [*store.stages, *baselines, *sets]
        longest = max(stage.seconds / (stage.steps if stage.unit == "sets" else 1) for stage in units)
        elapsed = max(sum(stage.seconds for stage in units) / at_once, longest)
        elapsed += sum(stage.seconds for stage in before)
        return CostEstimate((*before, *units), len(features.split("train")), peak(), tuple(notes), elapsed)
