"""A complete run from features to a set: initial heads, experts if the method needs them, then the method.

With `joint = false`, the run produces one set per pair of modalities, from the same initial heads, as published bimodal
methods do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.fingerprint import fingerprint
from omnidistill.distill import DistilledSet, Provenance
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.config.budgets import resolve_size
from omnidistill.experiments.run.expert_stage import given_experts, make_experts
from omnidistill.experiments.run.run_folder import (
    Run,
    begin_run,
    heads_fingerprint,
    open_data,
    pair_folder,
)
from omnidistill.experiments.run.start_heads import make_heads
from omnidistill.io.artifacts import exclusive
from omnidistill.io.tracking import Progress, SilentProgress, check_trackers
from omnidistill.methods import Task
from omnidistill.methods.method import check_result
from omnidistill.models.heads import Heads, load_heads, save_heads
from omnidistill.models.objectives.objective import check_contract
from omnidistill.training.experts import ExpertBuffer

ExpertCache = Callable[[FeatureSet, Heads, RunConfig], Path]
"""Function that returns the folder of the experts for data, heads and settings, so that several runs can share them."""


def run_distill(
    reference: str,
    config: RunConfig,
    folder: Path,
    *,
    heads: Path | None = None,
    experts: Path | None = None,
    initial_set: Path | None = None,
    expert_cache: ExpertCache | None = None,
    resume: bool = False,
    command: str = "",
    trackers: Sequence[str] = (),
    progress: Progress | None = None,
) -> Run:
    """Run all stages up to the finished set (or sets). Missing heads and experts are trained in the run folder.

    Args:
        reference: folder of a packed set, or "emoji".
        config: the settings.
        folder: the run folder.
        heads: folder of the initial heads; None trains them.
        experts: an expert buffer, trained earlier by 'experts'.
        initial_set: a set (or a run) of the same data and size, to continue from.
        expert_cache: folder of shared experts; None stores experts in the run folder.
        resume: resume or reuse the run in the folder.
        command: command line, recorded in the run.
        trackers: trackers that also record the metrics: "tensorboard", "wandb", "trackio".
        progress: reports progress to the user.

    Raises:
        InputError: data, settings or budget are invalid; the folder contains another run, or this run and `resume` is
            False.
        NotFiniteError: training or distillation diverged.
    """
    _check_trackers(trackers, config)
    data = open_data(reference, config)
    budget = config.distill.size if isinstance(config.distill.size, str) else None
    config = resolve_size(config, data)
    for part in [data] if config.joint else [data.only(pair) for pair in combinations(data.modalities, 2)]:
        _check(part, config, reference)
    if heads is not None:
        load_heads(heads, data.widths)
    given = None
    if experts is not None:
        if not config.distill.uses_experts:
            outer = getattr(config.distill, "outer", None)
            kind = f"kind {config.distill.kind}" + (f", outer objective {outer.kind}" if outer else "")
            raise InputError(
                f"--experts {experts}: method '{config.method}' ({kind}) does not use experts; omit the option"
            )
        if not config.joint:
            raise InputError(
                f"--experts {experts}: with joint = false every pair trains its own experts; omit the option"
            )
        given = given_experts(experts, data, config, heads)
    first = None if initial_set is None else _initial_set(initial_set, data, config)
    how = _How(
        reference,
        heads,
        given,
        first,
        expert_cache,
        resume,
        command,
        tuple(trackers),
        progress or SilentProgress(),
        budget,
    )
    with exclusive(folder):
        return _joint(data, config, folder, how) if config.joint else _pairs(data, config, folder, how)


@dataclass(frozen=True)
class _How:
    """Arguments that a run and its pairs share."""

    reference: str
    heads: Path | None
    experts: ExpertBuffer | None
    initial_set: DistilledSet | None
    expert_cache: ExpertCache | None
    resume: bool
    command: str
    trackers: tuple[str, ...]
    progress: Progress
    budget: str | None


def _pairs(data: FeatureSet, config: RunConfig, folder: Path, how: _How) -> Run:
    """Run every pair of modalities, one after the other, from the same initial heads."""
    run = begin_run(folder, how.reference, data, config, how.command, how.resume, how.budget)
    _start(run, data, config, how)
    for pair in combinations(data.modalities, 2):
        part, place = config.evolve(modalities=pair, joint=True), pair_folder(folder, pair)
        with exclusive(place):
            _joint(data.only(pair), part, place, replace(how, heads=folder / "heads", resume=True))
    return run


def _joint(data: FeatureSet, config: RunConfig, folder: Path, how: _How) -> Run:
    """Produce one set of all modalities of the data."""
    run = begin_run(folder, how.reference, data, config, how.command, how.resume, how.budget)
    if run.finished:
        _remove_checkpoint(folder / "checkpoint")
        return run
    start = _start(run, data, config, how)
    if how.experts is not None and heads_fingerprint(how.experts.heads(0, 0)) != heads_fingerprint(start):
        raise InputError(
            f"{folder}: contains a run whose initial heads differ from those of --experts; choose another folder"
        )

    def experts() -> ExpertBuffer:
        place = folder / "experts" if how.expert_cache is None else how.expert_cache(data, start, config)
        buffer = how.experts or make_experts(data, start, config, place, how.progress)
        run.record_seconds("experts", buffer.seconds)
        return buffer

    task = Task(
        data.development(),
        start,
        config.seed,
        config.experts,
        folder,
        experts,
        _provenance(data, start, config, how.initial_set),
        initial_set=how.initial_set,
        resume=how.resume,
        trackers=how.trackers,
        progress=how.progress,
    )
    result = check_result(config.distill, config.distill.run(task), task)
    run.record_seconds("distill", result.seconds)
    _remove_checkpoint(folder / "checkpoint")
    return run


def _start(run: Run, data: FeatureSet, config: RunConfig, how: _How) -> Heads:
    """Return the initial heads in the run folder, after creating them if they are missing."""
    started_at = time.monotonic()
    place = run.folder / "heads"
    if how.heads is None and how.experts is not None and not (place / "manifest.json").exists():
        save_heads(how.experts.heads(0, 0), place, {"origin": "the start of the given experts"})
    start = make_heads(data, config, place, how.heads, how.progress)
    if "heads" not in run.seconds():
        run.record_seconds("heads", time.monotonic() - started_at)
    return start


def _initial_set(place: Path, data: FeatureSet, config: RunConfig) -> DistilledSet:
    """Load the set to continue from and check that it has the modalities, widths and size of this run."""
    distilled = load_initial_set(place)
    if not config.distill.has_iterations or not config.joint:
        raise InputError(
            f"--from {place}: method '{config.method}' cannot continue from a set; only methods that learn one set of "
            "all modalities in an outer loop can"
        )
    if {name: rows.shape[1] for name, rows in distilled.rows().items()} != data.widths:
        raise InputError(f"--from {place}: the set has other modalities or widths than the data, {data.widths}")
    if distilled.size != config.distill.size:
        raise InputError(
            f"--from {place}: the set has {distilled.size} rows, not {config.distill.size}; use --size {distilled.size}"
        )
    return distilled


def load_initial_set(place: Path) -> DistilledSet:
    """Load the set in a folder, or that of the run in it."""
    inner = place / "distilled"
    return DistilledSet.load(inner if inner.is_dir() else place)


def _check(data: FeatureSet, config: RunConfig, reference: str) -> None:
    """Check size and objectives before anything is written."""
    settings, rows = config.distill, len(data.development().train)
    if settings.num_stored > rows:
        raise InputError(f"distill.size = {settings.num_stored} exceeds the {rows} training rows of {reference}")
    check_contract(settings.student, data.modalities)
    if settings.uses_experts:
        check_contract(config.experts.objective, data.modalities)


def _check_trackers(trackers: Sequence[str], config: RunConfig) -> None:
    check_trackers(trackers)
    if trackers and not config.distill.has_iterations:
        raise InputError(
            f"tracker {trackers[0]!r}: method '{config.method}' (kind {config.distill.kind}) has no iterations to "
            "record; omit the tracker"
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


def _remove_checkpoint(folder: Path) -> None:
    if folder.exists():
        for entry in folder.iterdir():
            entry.unlink()
        folder.rmdir()
