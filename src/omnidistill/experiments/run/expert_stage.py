"""The expert stage of a run: train expert trajectories, or load those that were trained earlier."""

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
    """Return the expert buffer in `folder`; train it first, or resume its training, if it is not finished.

    Args:
        data: the set.
        heads: initial heads of experts, in addition to others with `experts.num_starts` (see `start_heads`).
        config: the settings.
        folder: folder of the buffer.
        progress: reports progress to the user.
        engine: where experts are trained; None is this process.
        reopen: function that loads the training rows on another machine.

    Raises:
        InputError: a training has fewer epochs than the method reads, or `train_experts` rejects the settings.
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
    """Train experts: write their initial heads to FOLDER/heads (a copy of `heads`, if given), and FOLDER/buffer.

    When the experts are trained, their distance from the initial heads is sent to the trackers, one step per epoch.
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
        _track(buffer, trackers, folder, config, progress or SilentProgress())
        return buffer


def _track(buffer: ExpertBuffer, trackers: Sequence[str], folder: Path, config: RunConfig, progress: Progress) -> None:
    """Log ||W_t - W_0||_F of every modality after every epoch t, averaged over experts from the run's own heads."""
    own = buffer.own_experts
    lengths = buffer.squared_distances[list(own), :, 0, : buffer.last_epochs[own[0]] + 1].sqrt().mean(0)
    settings = config.model_dump(mode="json")
    with TrackerGroup(trackers, folder, settings, lambda line: progress.advance(0, note=line)) as group:
        for epoch, distances in enumerate(lengths.T.tolist()):
            named = zip(buffer.modalities, distances, strict=True)
            group.log(MetricsRecord(epoch, {f"distance_from_start/{name}": distance for name, distance in named}))


def given_experts(given: Path, data: FeatureSet, config: RunConfig, heads: Path | None) -> ExpertBuffer:
    """Load experts that were trained earlier.

    Args:
        given: output folder of the command 'experts', or the buffer in it.
        data: the set.
        config: the settings.
        heads: folder of the heads that the experts must start from; None accepts any.

    Raises:
        InputError: the experts were trained on other data or from other heads, or have fewer epochs than the method
            reads.
    """
    buffer = load_experts(given / "buffer" if (given / "buffer").is_dir() else given)
    identity = buffer.key.identity
    other_heads = heads is not None and heads_fingerprint(load_heads(heads, data.widths)[0]) != identity.get("heads")
    if identity.get("data") != fingerprint(data) or other_heads:
        raise InputError(f"{given}: the experts were trained on other data or from other heads; train them again")
    _require_epochs(min(buffer.last_epochs), config, given)
    return buffer


def _require_epochs(shortest: int, config: RunConfig, where: Path) -> None:
    last = config.distill.last_expert_epoch
    if last > shortest:
        raise InputError(
            f"{where}: experts have {shortest} epochs, but the settings need epoch {last}; "
            "increase experts.num_epochs, or decrease distill.outer.num_expert_epochs"
        )
