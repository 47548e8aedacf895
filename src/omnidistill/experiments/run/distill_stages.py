"""The stages of a distillation: initial heads, experts if the method requests them, then the method.

The result is one set, or one set per pair of modalities. Everything happens in memory; with a run folder, every stage
is also stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.fingerprint import fingerprint
from omnidistill.distillation import Distillation, DistilledSet, Provenance
from omnidistill.distillation.budget import training_bytes
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.run.added_data import store_earlier, with_earlier
from omnidistill.experiments.run.expert_stage import load_or_train_experts
from omnidistill.experiments.run.result import DistillResult, pair_folder
from omnidistill.experiments.run.run_folder import Run, open_or_create_run
from omnidistill.experiments.run.run_identity import heads_fingerprint, versions
from omnidistill.experiments.run.start_heads import InitialHeads, given_heads, load_or_create_heads
from omnidistill.experiments.run.stored_part import save_part
from omnidistill.io.artifacts import exclusive
from omnidistill.io.tracking import Progress
from omnidistill.methods import Task
from omnidistill.methods.method import check_result
from omnidistill.models.heads import Heads
from omnidistill.training.experts import ExpertBuffer

ExpertSource = Callable[[FeatureSet, Heads, RunConfig, Progress], ExpertBuffer]
"""Function that returns the experts for data, heads and settings, so that several runs can share them."""


@dataclass(frozen=True)
class DistillJob:
    """Arguments of a run, other than its data, settings and folder.

    If there is one set per pair of modalities, each pair is distilled by a run of its own. These runs get the same
    arguments, with two exceptions: `heads` are the initial heads of the two modalities, and `resume` is True.
    """

    heads: InitialHeads | None
    experts: ExpertBuffer | None
    expert_source: ExpertSource | None
    initial_set: DistilledSet | None
    earlier: DistilledSet | None
    resume: bool
    command: str
    trackers: tuple[str, ...]
    progress: Progress
    budget: str | None
    location: str | None


@dataclass
class _Stages:
    """Records how many seconds each stage of a run takes. If the run has a folder, the times are also saved there."""

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


def distill_pairs(data: FeatureSet, config: RunConfig, folder: Path | None, job: DistillJob) -> DistillResult:
    """Distil every pair of modalities, one after the other, from the same initial heads."""
    stages = _Stages(_begin(data, config, folder, job))
    start = _start(stages, data, config, job)
    results = []
    for pair in combinations(data.modalities, 2):
        part = config.evolve(modalities=pair, joint=True)
        place = None if folder is None else pair_folder(folder, pair)
        heads = given_heads(InitialHeads({name: start[name] for name in pair}, start.meta), data.only(pair).widths)
        with nullcontext() if place is None else exclusive(place):
            results.append(distill_joint(data.only(pair), part, place, replace(job, heads=heads, resume=True)))
    if stages.run is not None:
        return stages.run.result(data)
    for result in results:
        for stage in ("experts", "distill"):
            stages.seconds[stage] = stages.seconds.get(stage, 0.0) + result.seconds.get(stage, 0.0)
        stages.expert_bytes += result.expert_bytes
    parts = tuple(result.parts[0] for result in results)
    return _in_memory(data, config, parts, start, stages, job)


def distill_joint(data: FeatureSet, config: RunConfig, folder: Path | None, job: DistillJob) -> DistillResult:
    """Distil one set for all modalities of the data together."""
    stages = _Stages(_begin(data, config, folder, job))
    if stages.run is not None and stages.run.finished:
        stages.run.remove_checkpoint()
        return stages.run.result(data)
    start = _start(stages, data, config, job)
    if job.experts is not None and heads_fingerprint(job.experts.heads(0, 0)) != heads_fingerprint(start):
        raise InputError(
            f"{folder}: the run in this folder and the given expert trajectories have different initial heads; choose "
            "another folder"
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
    if job.earlier is not None:
        result = with_earlier(result, job.earlier)
    stages.record("distill", result.seconds)
    if stages.run is None:
        return _in_memory(data, config, (result,), start, stages, job)
    save_part(stages.run.folder, result)
    stages.run.remove_checkpoint()
    return stages.run.result(data)


def _begin(data: FeatureSet, config: RunConfig, folder: Path | None, job: DistillJob) -> Run | None:
    if folder is None:
        return None
    run = open_or_create_run(
        folder, data, config, location=job.location, command=job.command, resume=job.resume, budget=job.budget
    )
    if job.earlier is not None:
        store_earlier(folder, job.earlier)
    before, now = run.versions.get("threads"), versions()["threads"]
    if before not in (None, now) and not run.finished:
        job.progress.note(
            f"this run began with {before} torch threads and resumes with {now}: the last digits of its numbers may "
            f"differ from those of an uninterrupted run; to avoid this, set OMP_NUM_THREADS={before}"
        )
    return run


def _start(stages: _Stages, data: FeatureSet, config: RunConfig, job: DistillJob) -> InitialHeads:
    """Return the initial heads on the data's device. If the run folder contains heads, they are loaded from it."""
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
    job: DistillJob,
) -> DistillResult:
    """Return the result of a run that is not stored in a folder."""
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
