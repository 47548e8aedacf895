"""Distillation from features to a set: initial heads, experts if the method needs them, then the method.

With `joint = false`, the result is one set per pair of modalities, from the same initial heads, as published bimodal
methods do. Everything happens in memory; with a folder, every stage is stored as well, and an interrupted run resumes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import torch

from omnidistill.core.arguments import argument
from omnidistill.core.device import resolve_device
from omnidistill.core.errors import InputError
from omnidistill.data.datasets import Data, opened
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.fingerprint import fingerprint
from omnidistill.distillation import Distillation, DistilledSet, Provenance
from omnidistill.distillation.budget import training_bytes
from omnidistill.experiments.config import RunConfig, SettingValues, requested_config
from omnidistill.experiments.config.budgets import resolve_size
from omnidistill.experiments.run.expert_stage import given_experts, load_or_train_experts
from omnidistill.experiments.run.result import DistillResult, pair_folder
from omnidistill.experiments.run.run_folder import Run, open_or_create_run, save_part
from omnidistill.experiments.run.run_identity import heads_fingerprint, versions
from omnidistill.experiments.run.start_heads import GivenHeads, InitialHeads, given_heads, load_or_create_heads
from omnidistill.io.artifacts import exclusive
from omnidistill.io.tracking import Progress, check_trackers, shown
from omnidistill.methods import Task
from omnidistill.methods.method import check_result
from omnidistill.models.heads import Heads
from omnidistill.models.objectives.objective import check_contract
from omnidistill.training.experts import ExpertBuffer

InitialSet = DistilledSet | DistillResult | Path
"""A set to continue from, a result that contains it, or the Path of a set or run."""

ExpertSource = Callable[[FeatureSet, Heads, RunConfig, Progress], ExpertBuffer]
"""Function that returns the experts for data, heads and settings, so that several runs can share them."""


def distill(
    data: Data,
    *,
    size: int | None = None,
    bytes: str | int | None = None,
    preset: str | None = None,
    config: RunConfig | Path | None = None,
    settings: SettingValues = (),
    seed: int | None = None,
    heads: GivenHeads | None = None,
    experts: Path | ExpertBuffer | None = None,
    expert_source: ExpertSource | None = None,
    initial_set: InitialSet | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    trackers: Sequence[str] = (),
    device: str | torch.device = "auto",
    progress: Progress | bool = True,
    command: str = "",
) -> DistillResult:
    """Distil a set. Missing heads and experts are trained first.

    Args:
        data: a set, the name of a registered dataset ("emoji"), or the Path of a packed set.
        size: number of synthetic rows; None uses that of the settings.
        bytes: size budget instead, filled with as many rows as fit: bytes, "64kB", or "1%" of the training features.
        preset: name of a method; None uses `recommended`, or `compact` with a budget.
        config: complete settings, or the Path of a TOML file, instead of a preset.
        settings: single settings, {"distill.iterations": 500}, or texts "distill.iterations=500".
        seed: seed of every random stream.
        heads: initial heads {modality: d x p_m}, or the Path of stored ones; None pre-trains them on the split
            `heads`, or draws random ones if there is no such split.
        experts: expert trajectories from `train_experts`, or the Path of stored ones.
        expert_source: function that returns the experts, so that several runs can share them.
        initial_set: a set of the same data and size to continue from, a result, or the Path of a set or run.
        folder: the run folder; None stores nothing.
        resume: resume or reuse the run in the folder.
        trackers: names of trackers that also record the metrics; they need a folder.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        progress: whether to show progress, or the object that shows it.
        command: command line, recorded in the run.

    Returns:
        The set, the initial heads, the choices made and the seconds.

    Raises:
        InputError: data, settings, budget or device cannot be used; the folder contains another run, or this run and
            `resume` is False.
        NotFiniteError: training or distillation diverged.
    """
    place = None if folder is None else Path(folder)
    first = None if initial_set is None else load_initial_set(initial_set)
    requested = requested_config(
        size=size,
        bytes=bytes,
        preset=preset,
        config=config,
        settings=settings,
        seed=seed,
        usual_size=None if first is None else first.size,
    )
    _check_trackers(trackers, requested, place)
    if resume and place is None:
        raise InputError("resume=True: needs the folder of the run; pass it, or omit resume")
    features = opened(data)
    location = features.location
    if requested.modalities is not None:
        features = features.only(requested.modalities)
    resolved = resolve_size(requested, features)
    for part in [features] if resolved.joint else [features.only(p) for p in combinations(features.modalities, 2)]:
        _check(part, resolved, location)
    if first is not None:
        _check_initial_set(first, initial_set, features, resolved)
    start = given_heads(heads, features.widths)
    job = _Job(
        start,
        _checked_experts(experts, features, resolved, start),
        expert_source,
        first,
        resume,
        command,
        tuple(trackers),
        shown(progress),
        requested.distill.size if isinstance(requested.distill.size, str) else None,
        location,
    )
    features = features.to(resolve_device(device))
    with nullcontext() if place is None else exclusive(place):
        result = (_joint if resolved.joint else _pairs)(features, resolved, place, job)
    return replace(result, requested=requested)


@dataclass(frozen=True)
class _Job:
    """Arguments that a run and its pairs share."""

    heads: InitialHeads | None
    experts: ExpertBuffer | None
    expert_source: ExpertSource | None
    initial_set: DistilledSet | None
    resume: bool
    command: str
    trackers: tuple[str, ...]
    progress: Progress
    budget: str | None
    location: str | None


@dataclass
class _Stages:
    """Seconds of the stages of a run, and the run that records them."""

    run: Run | None
    seconds: dict[str, float] = field(default_factory=dict)
    expert_bytes: int = 0

    def record(self, stage: str, seconds: float) -> None:
        self.seconds[stage] = seconds
        if self.run is not None:
            self.run.record_seconds(stage, seconds)

    @property
    def folder(self) -> Path | None:
        return None if self.run is None else self.run.folder


def _pairs(data: FeatureSet, config: RunConfig, folder: Path | None, job: _Job) -> DistillResult:
    """Distil every pair of modalities, one after the other, from the same initial heads."""
    stages = _Stages(_begin(data, config, folder, job))
    start = _start(stages, data, config, job)
    results = []
    for pair in combinations(data.modalities, 2):
        part = config.evolve(modalities=pair, joint=True)
        place = None if folder is None else pair_folder(folder, pair)
        heads = given_heads(InitialHeads({name: start[name] for name in pair}, start.meta), data.only(pair).widths)
        with nullcontext() if place is None else exclusive(place):
            results.append(_joint(data.only(pair), part, place, replace(job, heads=heads, resume=True)))
    if stages.run is not None:
        return stages.run.result(data)
    for result in results:
        for stage in ("experts", "distill"):
            stages.seconds[stage] = stages.seconds.get(stage, 0.0) + result.seconds.get(stage, 0.0)
        stages.expert_bytes += result.expert_bytes
    parts = tuple(result.parts[0] for result in results)
    return _in_memory(data, config, parts, start, stages, job)


def _joint(data: FeatureSet, config: RunConfig, folder: Path | None, job: _Job) -> DistillResult:
    """Produce one set of all modalities of the data."""
    stages = _Stages(_begin(data, config, folder, job))
    if stages.run is not None and stages.run.finished:
        stages.run.remove_checkpoint()
        return stages.run.result(data)
    start = _start(stages, data, config, job)
    if job.experts is not None and heads_fingerprint(job.experts.heads(0, 0)) != heads_fingerprint(start):
        raise InputError(
            f"{folder}: contains a run whose initial heads differ from those of the given experts; choose another "
            "folder"
        )

    def experts() -> ExpertBuffer:
        buffer = job.experts
        if buffer is None and job.expert_source is not None:
            buffer = job.expert_source(data, start, config, job.progress)
        if buffer is None:
            place = None if folder is None else folder / "experts"
            buffer = load_or_train_experts(data, start, config, place, job.progress)
            stages.expert_bytes = buffer.bytes
        stages.record("experts", buffer.seconds)
        return buffer

    task = Task(
        data.development(),
        start,
        config.seed,
        config.experts,
        folder,
        experts,
        _provenance(data, start, config, job.initial_set),
        initial_set=job.initial_set,
        resume=job.resume,
        trackers=job.trackers,
        progress=job.progress,
    )
    result = check_result(config.distill, config.distill.run(task), task)
    stages.record("distill", result.seconds)
    if stages.run is None:
        return _in_memory(data, config, (result,), start, stages, job)
    save_part(stages.run.folder, result)
    stages.run.remove_checkpoint()
    return stages.run.result(data)


def _begin(data: FeatureSet, config: RunConfig, folder: Path | None, job: _Job) -> Run | None:
    if folder is None:
        return None
    return open_or_create_run(
        folder, data, config, location=job.location, command=job.command, resume=job.resume, budget=job.budget
    )


def _start(stages: _Stages, data: FeatureSet, config: RunConfig, job: _Job) -> InitialHeads:
    """Return the initial heads on the device of the data; those of the run folder, if it has any."""
    started_at = time.monotonic()
    place = None if stages.folder is None else stages.folder / "heads"
    given = job.heads
    if given is None and job.experts is not None:
        given = InitialHeads(job.experts.heads(0, 0), {"origin": "the start of the given experts"})
        if place is not None and (place / "manifest.json").exists():
            given = None  # the stored heads are compared with those of the experts later
    start = load_or_create_heads(data, config, place, given, job.progress)
    if stages.run is None or "heads" not in stages.run.seconds():
        stages.record("heads", time.monotonic() - started_at)
    return start


def _in_memory(
    data: FeatureSet,
    config: RunConfig,
    parts: tuple[Distillation, ...],
    start: InitialHeads,
    stages: _Stages,
    job: _Job,
) -> DistillResult:
    """Return the result of a run without a folder."""
    return DistillResult(
        config,
        parts,
        {name: matrix.cpu() for name, matrix in start.items()},
        fingerprint(data),
        training_bytes(data),
        stages.seconds,
        stages.expert_bytes,
        versions(),
        job.budget,
        job.location,
        command=job.command,
    )


def load_initial_set(source: InitialSet) -> DistilledSet:
    """Return the set to continue from: a set, the set of a result, or the set in a folder or run.

    Raises:
        InputError: the source is none of these, or the folder contains no set.
    """
    match source:
        case DistillResult():
            return source.set
        case DistilledSet():
            return source
        case Path():
            inner = source / "distilled"
            return DistilledSet.load(inner if inner.is_dir() else source)
    kind = type(source).__name__  # type: ignore[unreachable]
    raise InputError(f"{argument('initial_set')}: found a {kind}; pass a set, a result, or the Path of a set or run")


def _check_initial_set(distilled: DistilledSet, source: InitialSet | None, data: FeatureSet, config: RunConfig) -> None:
    """Check that the set to continue from has the modalities, widths and size of this run."""
    where = argument("initial_set", source if isinstance(source, Path) else None)
    if not config.distill.has_iterations or not config.joint:
        raise InputError(
            f"{where}: method '{config.method}' cannot continue from a set; only methods that learn one set of "
            "all modalities in an outer loop can"
        )
    if {name: rows.shape[1] for name, rows in distilled.rows().items()} != data.widths:
        raise InputError(f"{where}: the set has other modalities or widths than the data, {data.widths}")
    if distilled.size != config.distill.size:
        raise InputError(
            f"{where}: the set has {distilled.size} rows, not {config.distill.size}; use "
            f"{argument('size', distilled.size)}"
        )


def _checked_experts(
    experts: Path | ExpertBuffer | None, data: FeatureSet, config: RunConfig, heads: InitialHeads | None
) -> ExpertBuffer | None:
    if experts is None:
        return None
    where = argument("experts", experts if isinstance(experts, Path) else None)
    if not config.distill.uses_experts:
        outer = getattr(config.distill, "outer", None)
        kind = f"kind {config.distill.kind}" + (f", outer objective {outer.kind}" if outer else "")
        raise InputError(f"{where}: method '{config.method}' ({kind}) does not use experts; omit them")
    if not config.joint:
        raise InputError(f"{where}: with joint = false every pair trains its own experts; omit them")
    return given_experts(experts, data, config, heads)


def _check(data: FeatureSet, config: RunConfig, location: str | None) -> None:
    """Check size and objectives before anything is written."""
    settings, rows = config.distill, len(data.development().train)
    if settings.num_stored > rows:
        of = f" of {location}" if location else ""
        raise InputError(f"distill.size = {settings.num_stored} exceeds the {rows} training rows{of}")
    check_contract(settings.student, data.modalities)
    if settings.uses_experts:
        check_contract(config.experts.objective, data.modalities)


def _check_trackers(trackers: Sequence[str], config: RunConfig, folder: Path | None) -> None:
    check_trackers(trackers)
    if trackers and not config.distill.has_iterations:
        raise InputError(
            f"tracker {trackers[0]!r}: method '{config.method}' (kind {config.distill.kind}) has no iterations to "
            "record; omit the tracker"
        )
    if trackers and folder is None:
        raise InputError(f"tracker {trackers[0]!r}: needs the folder of a run; pass one, or omit the tracker")


def _provenance(data: FeatureSet, start: Heads, config: RunConfig, initial_set: DistilledSet | None) -> Provenance:
    source, name = None, data.provenance.get("name")
    if initial_set is not None:
        source = {"method": initial_set.provenance.method, "rows": heads_fingerprint(initial_set.rows())}
    return Provenance(
        config.method,
        config.model_dump(mode="json"),
        None if name is None else str(name),
        fingerprint(data),
        heads_fingerprint(start),
        data.provenance.get("licences"),
        data.provenance.get("encoders"),
        initial_set=source,
    )
