"""Distillation from features to a set: initial heads, experts if the method needs them, then the method.

With `joint = false`, one set is distilled per pair of modalities, as in published bimodal methods. All sets use the
same initial heads. Everything happens in memory; with a folder, every stage is stored as well, and an interrupted run
can be resumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import torch

from omnidistill.core.arguments import argument
from omnidistill.core.device import resolve_device
from omnidistill.core.errors import InputError
from omnidistill.data.datasets import Data, opened
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.recentre import recentred
from omnidistill.distillation import DistilledSet
from omnidistill.experiments.config import RunConfig, SettingValues, requested_config
from omnidistill.experiments.config.budgets import resolve_size
from omnidistill.experiments.run.added_data import check_can_add, config_of
from omnidistill.experiments.run.distill_stages import DistillJob, ExpertSource, distill_joint, distill_pairs
from omnidistill.experiments.run.expert_stage import given_experts
from omnidistill.experiments.run.result import DistillResult
from omnidistill.experiments.run.start_heads import GivenHeads, InitialHeads, given_heads
from omnidistill.io.artifacts import exclusive
from omnidistill.io.tracking import Progress, check_trackers, shown
from omnidistill.io.tracking.progress_file import followable
from omnidistill.models.objectives.objective import check_contract
from omnidistill.training.experts import ExpertBuffer

InitialSet = DistilledSet | DistillResult | Path
"""A set to continue from, a result that contains it, or the Path of a set or run."""


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
    add_to: InitialSet | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    trackers: Sequence[str] = (),
    device: str | torch.device = "auto",
    progress: Progress | bool = True,
    command: str = "",
) -> DistillResult:
    """Distil data to a few synthetic rows (a set). If heads or experts are needed but not given, train them first.

    Args:
        data: a FeatureSet, the name of a registered dataset, such as "emoji", or the Path of a packed dataset.
        size: number of synthetic rows; None uses the number from the settings.
        bytes: size budget, instead of `size`: a number of bytes, "64kB", or "1%" of the training features. The set gets
            as many rows as fit.
        preset: name of a method; None uses `anchor`, or `anchor-coded` if there is a budget.
        config: complete settings, or the Path of a TOML file, instead of a preset.
        settings: individual settings, as a dict {"distill.iterations": 500} or as strings "distill.iterations=500".
        seed: seed for every random stream.
        heads: initial heads {modality: embedding width x feature width}, or the Path of stored ones; None pre-trains
            them on the `heads` split, or draws random ones if the data have no `heads` split.
        experts: expert trajectories from `train_experts`, or the Path of stored ones.
        expert_source: function that returns the experts, so that several runs can share them.
        initial_set: set to continue from: a set, a result, or the Path of a set or run. Its modalities, widths and size
            must be those of this run.
        add_to: earlier set to merge with the rows distilled from `data`. The data of the earlier set are not needed.
            The size of the merged set is the sum of both sizes. With the recipe "anchor", a larger sum is reduced to
            the second largest feature width. Without `preset` and `config`, the settings of the earlier set are used.
        folder: the run folder; None stores nothing.
        resume: whether to resume or reuse the run in the folder.
        trackers: names of experiment trackers, such as "wandb", to which the metrics are also logged. They need a
            folder.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        progress: whether to show progress, or the object that shows it.
        command: command line, recorded in the run.

    Returns:
        The set, the initial heads, the settings that were inferred from the data, and the seconds per stage.

    Raises:
        InputError: data, settings, budget or device cannot be used; or the folder contains another run, or it contains
            this run but `resume` is False.
        NotFiniteError: training or distillation diverged.
    """
    place = None if folder is None else Path(folder)
    first = None if initial_set is None else load_initial_set(initial_set)
    earlier = None if add_to is None else load_initial_set(add_to)
    if first is not None and earlier is not None:
        raise InputError(f"{argument('initial_set')} and {argument('add_to')}: pass only one of them")
    if earlier is not None and preset is None and config is None:
        config = config_of(earlier)
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
        raise InputError("resume=True needs the folder of the run to resume; pass this folder, or omit resume")
    features = opened(data, requested.modalities)
    location = features.location
    if earlier is not None:
        features = recentred(features, earlier.preprocessing, earlier.widths)
    resolved = resolve_size(requested, features)
    if earlier is not None:
        check_can_add(earlier, resolved, features.widths)
    for part in [features] if resolved.joint else [features.only(p) for p in combinations(features.modalities, 2)]:
        _check(part, resolved, location)
    if first is not None:
        _check_initial_set(first, initial_set, features, resolved)
    start = given_heads(heads, features.widths)
    job = DistillJob(
        start,
        _checked_experts(experts, features, resolved, start),
        expert_source,
        first,
        earlier,
        resume,
        command,
        tuple(trackers),
        shown(progress),
        requested.distill.size if isinstance(requested.distill.size, str) else None,
        location,
    )
    features = features.to(resolve_device(device))
    with nullcontext() if place is None else exclusive(place), followable(job.progress, place) as display:
        job = replace(job, progress=display)
        result = (distill_joint if resolved.joint else distill_pairs)(features, resolved, place, job)
    return replace(result, requested=requested)


def load_initial_set(source: InitialSet) -> DistilledSet:
    """Return the set to continue from. `source` is the set itself, a result, or the Path of a set or run.

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
    raise InputError(
        f"{argument('initial_set')}: found a {kind}; pass a DistilledSet, a DistillResult, or the folder of a run or "
        "of a synthetic set as a pathlib.Path"
    )


def _check_initial_set(distilled: DistilledSet, source: InitialSet | None, data: FeatureSet, config: RunConfig) -> None:
    """Check that the set to continue from has the modalities, widths and size of this run."""
    where = argument("initial_set", source if isinstance(source, Path) else None)
    if not config.distill.has_iterations:
        raise InputError(
            f"{where}: method '{config.method}' has no outer iterations, so it cannot continue from an existing "
            "synthetic set; choose a method that has them, such as preset 'hopa'"
        )
    if not config.joint:
        raise InputError(
            f"{where}: with 'joint = false', a run cannot continue from an existing synthetic set; use 'joint = true'"
        )
    if {name: rows.shape[1] for name, rows in distilled.rows().items()} != data.widths:
        raise InputError(
            f"{where}: the modalities or widths of the synthetic set differ from those of the data ({data.widths}); "
            "pass a set that was distilled from the same features"
        )
    if distilled.size != config.distill.size:
        raise InputError(
            f"{where}: the synthetic set has {distilled.size} rows, but the settings require {config.distill.size}; "
            f"use {argument('size', distilled.size)}"
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
        raise InputError(
            f"{where}: method '{config.method}' ({kind}) does not use expert trajectories; omit this argument"
        )
    if not config.joint:
        raise InputError(
            f"{where}: with 'joint = false', every pair of modalities trains its own expert trajectories; omit this "
            "argument"
        )
    return given_experts(experts, data, config, heads)


def _check(data: FeatureSet, config: RunConfig, location: str | None) -> None:
    """Check the number of synthetic rows, and the objectives of student and experts, before anything is written."""
    settings, rows = config.distill, len(data.development().train)
    if settings.num_stored > rows:
        of = f" in {location}" if location else ""
        raise InputError(
            f"distill.size = {settings.num_stored} exceeds the {rows} training rows{of}; choose a smaller size"
        )
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
        raise InputError(
            f"tracker {trackers[0]!r}: a tracker needs an output folder; pass a folder, or omit the tracker"
        )
