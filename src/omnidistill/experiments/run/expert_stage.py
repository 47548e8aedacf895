"""The stage before a set is made: experts, trained here or given."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from omnidistill.core.engines import Engine
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.fingerprint import fingerprint
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.run.run_folder import heads_fingerprint, open_data
from omnidistill.experiments.run.start_heads import make_heads, make_starts
from omnidistill.io.artifacts import exclusive
from omnidistill.io.tracking import MetricsRecord, Progress, SilentProgress, TrackerGroup, check_trackers
from omnidistill.models.heads import Heads, load_heads
from omnidistill.training.experts import ExpertBuffer, load_experts, train_experts


def make_experts(
    data: FeatureSet,
    heads: Heads,
    config: RunConfig,
    folder: Path,
    progress: Progress | None = None,
    engine: Engine | None = None,
    reopen: Callable[[], FeatureSet] | None = None,
) -> ExpertBuffer:
    """The expert buffer of `folder`; trained, or its training continued, when it is not finished.

    They start from the given heads and, with `experts.num_starts`, from others: see `run.starts`.

    Raises InputError where a training has fewer epochs than are read, and for what `train_experts` refuses.
    """
    seed = config.seed if config.experts.seed is None else config.experts.seed
    started_at = time.monotonic()
    starts = make_starts(data, heads, config, folder, seed, progress)
    _require_epochs(min(start.num_epochs for start in starts), config, folder)
    return train_experts(
        starts,
        data.split("train"),
        config.experts,
        folder,
        seed=seed,
        seconds=time.monotonic() - started_at,
        spectrum_epochs=config.distill.expert_span,
        identity={"data": fingerprint(data), "heads": heads_fingerprint(heads)},
        progress=progress,
        engine=engine,
        reopen=reopen,
    )


def _train_rows(reference: str, config: RunConfig) -> FeatureSet:
    return open_data(reference, config).split("train")


def run_experts(
    reference: str,
    config: RunConfig,
    folder: Path,
    heads: Path | None = None,
    progress: Progress | None = None,
    trackers: Sequence[str] = (),
    engine: Engine | None = None,
) -> ExpertBuffer:
    """Heads in FOLDER/heads (made when not given) and the experts that start from them in FOLDER/buffer.

    Trackers are shown how far experts went from their start, an epoch a step, once they are trained.
    """
    check_trackers(trackers)
    data = open_data(reference, config)
    config.experts.objective.bind(data.modalities)
    if heads is not None:
        load_heads(heads, data.widths)
    with exclusive(folder):
        start = make_heads(data, config, folder / "heads", heads, progress)
        buffer = make_experts(
            data, start, config, folder / "buffer", progress, engine, partial(_train_rows, reference, config)
        )
        _show(buffer, trackers, folder, config, progress or SilentProgress())
        return buffer


def _show(buffer: ExpertBuffer, trackers: Sequence[str], folder: Path, config: RunConfig, progress: Progress) -> None:
    """||W_t - W_0||_F of every modality after every epoch t, mean over the experts that start from the run's heads."""
    own = buffer.own_experts
    gone = buffer.squared_distances[list(own), :, 0, : buffer.last_epochs[own[0]] + 1].sqrt().mean(0)
    settings = config.model_dump(mode="json")
    with TrackerGroup(trackers, folder, settings, lambda line: progress.advance(0, note=line)) as group:
        for epoch, distances in enumerate(gone.T.tolist()):
            named = zip(buffer.modalities, distances, strict=True)
            group.log(MetricsRecord(epoch, {f"distance_from_start/{name}": distance for name, distance in named}))


def given_experts(given: Path, data: FeatureSet, config: RunConfig, heads: Path | None) -> ExpertBuffer:
    """Experts made before, by the folder that 'experts' was told or the buffer in it.

    Raises InputError for experts of other data or heads, or with fewer epochs than are read.
    """
    buffer = load_experts(given / "buffer" if (given / "buffer").is_dir() else given)
    identity = buffer.key.identity
    other_heads = heads is not None and heads_fingerprint(load_heads(heads, data.widths)[0]) != identity.get("heads")
    if identity.get("data") != fingerprint(data) or other_heads:
        raise InputError(f"{given}: experts were trained on other data or from other heads; train them again")
    _require_epochs(min(buffer.last_epochs), config, given)
    return buffer


def _require_epochs(shortest: int, config: RunConfig, where: Path) -> None:
    last = config.distill.last_expert_epoch
    if last > shortest:
        raise InputError(
            f"{where}: experts have {shortest} epochs, but the settings read epoch {last}; "
            "give more experts.num_epochs, or fewer distill.outer.num_expert_epochs"
        )
