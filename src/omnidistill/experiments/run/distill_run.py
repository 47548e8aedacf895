"""A run from features to its set: heads, experts where the method asks for them, then the method.

With `joint = false` the run is one of every pair of modalities, from the same heads, as bimodal methods are published.
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
"""Where the experts of these data, heads and settings are stored, for several runs to share."""


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
    """All stages up to the finished set (or sets); what is missing (heads, experts) is made in the run folder.

    Args:
        reference: a packed set, or "emoji".
        config: the settings.
        folder: the run folder.
        heads: heads to start from.
        experts: a buffer made before, by 'experts'.
        initial_set: a set (or the run of one) of these data and as many rows, to continue from.
        expert_cache: where to store (and look for) experts instead of the run folder.
        resume: continue or reuse the run in the folder.
        command: recorded in the run.
        trackers: where the metrics are shown as well: "tensorboard", "wandb", "trackio".
        progress: shown while it works.

    Raises:
        InputError: bad data, settings or budget, a folder of another run, or of this one without `resume`.
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
            kind = config.distill.kind
            raise InputError(f"--experts {experts}: method '{config.method}' (kind {kind}) uses none; leave it out")
        if not config.joint:
            raise InputError(f"--experts {experts}: with joint = false every pair trains its own; leave it out")
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
    """What a run and its pairs have in common."""

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
    """A run of every pair, one after the other, from the same heads."""
    run = begin_run(folder, how.reference, data, config, how.command, how.resume, how.budget)
    _start(run, data, config, how)
    for pair in combinations(data.modalities, 2):
        part, place = config.evolve(modalities=pair, joint=True), pair_folder(folder, pair)
        with exclusive(place):
            _joint(data.only(pair), part, place, replace(how, heads=folder / "heads", resume=True))
    return run


def _joint(data: FeatureSet, config: RunConfig, folder: Path, how: _How) -> Run:
    """One set of all modalities of the data."""
    run = begin_run(folder, how.reference, data, config, how.command, how.resume, how.budget)
    if run.finished:
        _remove_checkpoint(folder / "checkpoint")
        return run
    start = _start(run, data, config, how)
    if how.experts is not None and heads_fingerprint(how.experts.heads(0, 0)) != heads_fingerprint(start):
        raise InputError(
            f"{folder}: holds a run from other heads than those of the given experts; choose another folder"
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
    made = check_result(config.distill, config.distill.run(task), task)
    run.record_seconds("distill", made.seconds)
    _remove_checkpoint(folder / "checkpoint")
    return run


def _start(run: Run, data: FeatureSet, config: RunConfig, how: _How) -> Heads:
    """The heads in the run folder, made when they are missing."""
    begun = time.monotonic()
    place = run.folder / "heads"
    if how.heads is None and how.experts is not None and not (place / "manifest.json").exists():
        save_heads(how.experts.heads(0, 0), place, {"origin": "the start of the given experts"})
    start = make_heads(data, config, place, how.heads, how.progress)
    if "heads" not in run.seconds():
        run.record_seconds("heads", time.monotonic() - begun)
    return start


def _initial_set(place: Path, data: FeatureSet, config: RunConfig) -> DistilledSet:
    """The set to go on from, which must be of the features and the size of this run."""
    found = load_initial_set(place)
    if not config.distill.has_iterations or not config.joint:
        raise InputError(f"--from {place}: only sets of all modalities that are learned row by row go on from another")
    if {name: rows.shape[1] for name, rows in found.rows().items()} != data.widths:
        raise InputError(f"--from {place}: is a set of other modalities or widths than the data's {data.widths}")
    if found.size != config.distill.size:
        raise InputError(f"--from {place}: has {found.size} rows, not {config.distill.size}; give --size {found.size}")
    return found


def load_initial_set(place: Path) -> DistilledSet:
    """The set in a folder, or that of the run in it."""
    inner = place / "distilled"
    return DistilledSet.load(inner if inner.is_dir() else place)


def _check(data: FeatureSet, config: RunConfig, reference: str) -> None:
    """What can be told before anything is written."""
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
            f"tracker {trackers[0]!r}: method '{config.method}' (kind {config.distill.kind}) has no iterations; "
            "leave it out"
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
