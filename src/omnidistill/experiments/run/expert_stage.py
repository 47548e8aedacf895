"""The expert stage of a run: train expert trajectories, or load existing ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from omnidistill.core.arguments import argument
from omnidistill.core.device import resolve_device
from omnidistill.core.engines import Engine, engine_in_use
from omnidistill.core.errors import InputError
from omnidistill.data.datasets import Data, open_reference, opened
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.fingerprint import fingerprint
from omnidistill.experiments.config import RunConfig, SettingValues, requested_config
from omnidistill.experiments.run.expert_starts import load_or_create_starts
from omnidistill.experiments.run.run_identity import heads_fingerprint
from omnidistill.experiments.run.start_heads import GivenHeads, InitialHeads, given_heads, load_or_create_heads
from omnidistill.io.artifacts import exclusive
from omnidistill.io.tracking import MetricsRecord, Progress, TrackerGroup, check_trackers, shown
from omnidistill.models.heads import Heads
from omnidistill.training.experts import ExpertBuffer, load_experts
from omnidistill.training.experts import train_experts as train_buffer


def load_or_train_experts(
    data: FeatureSet,
    heads: Heads,
    config: RunConfig,
    folder: Path | None = None,
    progress: Progress | None = None,
    engine: Engine | None = None,
    reopen: Callable[[], FeatureSet] | None = None,
) -> ExpertBuffer:
    """Return the experts stored in `folder`. If they are missing or incomplete, train them first.

    Args:
        data: the data.
        heads: initial heads of the experts. If the setting `experts.num_starts` is greater than 1, some experts start
            from other heads (see `expert_starts`).
        config: the settings of the run.
        folder: folder of the experts; None keeps them in memory.
        progress: shows the progress; None shows nothing.
        engine: the engine that trains the experts; None trains them in this process.
        reopen: function with which another process or machine loads the training rows.

    Raises:
        InputError: the experts have fewer epochs than the method needs, or the settings do not match the initial heads.
    """
    seed = config.seed if config.experts.seed is None else config.experts.seed
    started_at = time.monotonic()
    starts = load_or_create_starts(data, heads, config, folder, seed, progress)
    _require_epochs(min(start.num_epochs for start in starts), config, str(folder or "experts"))
    return train_buffer(
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


@dataclass(frozen=True)
class TrainRows:
    """A picklable function that loads the training rows, for use in another process.

    Attributes:
        location: folder of the dataset, or the name of a registered dataset.
        modalities: the modalities of the run.
        device: device on which the experts are trained.
    """

    location: str
    modalities: tuple[str, ...]
    device: str

    def __call__(self) -> FeatureSet:
        """Load the training rows to the device."""
        return open_reference(self.location).only(self.modalities).split("train").to(self.device)


def train_experts(
    data: Data,
    *,
    preset: str | None = None,
    config: RunConfig | Path | None = None,
    settings: SettingValues = (),
    seed: int | None = None,
    heads: GivenHeads | None = None,
    folder: str | Path | None = None,
    trackers: Sequence[str] = (),
    engine: Engine | str = "local",
    device: str | torch.device = "auto",
    progress: Progress | bool = True,
) -> ExpertBuffer:
    """Train expert trajectories. Store the experts in FOLDER/buffer and their initial heads in FOLDER/heads.

    After training, the distance of the experts from their initial heads is logged to the trackers for every epoch.

    Args:
        data: a FeatureSet, the name of a registered dataset, or the Path of a packed dataset.
        preset, config, settings, seed: settings of a run, as in `distill`; only those under "experts" have an effect.
        heads: initial heads; None pre-trains them.
        folder: output folder; None keeps everything in memory. To resume interrupted training, repeat the call.
        trackers: names of trackers; they need a folder.
        engine: where experts are trained: "local", "ray" or "ray:ADDRESS". The results are bit-identical.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        progress: whether to show progress, or the object that shows it.

    Raises:
        InputError: settings, heads, trackers or device cannot be used, or the folder contains other experts.
        NotFiniteError: training diverged.
    """
    resolved = requested_config(preset=preset, config=config, settings=settings, seed=seed)
    check_trackers(trackers)
    output = None if folder is None else Path(folder)
    if trackers and output is None:
        raise InputError(
            f"tracker {trackers[0]!r}: a tracker needs an output folder; pass a folder, or omit the tracker"
        )
    features, display = opened(data, resolved.modalities), shown(progress)
    resolved.experts.objective.bind(features.modalities)
    given = given_heads(heads, features.widths)
    place = resolve_device(device)
    reopen = None if features.location is None else TrainRows(features.location, features.modalities, str(place))
    features = features.to(place)
    with engine_in_use(engine, str(place)) as used, nullcontext() if output is None else exclusive(output):
        start = load_or_create_heads(features, resolved, output and output / "heads", given, display)
        inner = output and output / "buffer"
        buffer = load_or_train_experts(features, start, resolved, inner, display, used, reopen)
        if output is not None:
            _track(buffer, trackers, output, resolved, display)
    return buffer


def _track(buffer: ExpertBuffer, trackers: Sequence[str], folder: Path, config: RunConfig, progress: Progress) -> None:
    """Log the distance of the experts from their initial heads, for every modality and epoch.

    The distance after epoch t is ||W_t - W_0||_F, where W_t is the head of an expert after epoch t. It is averaged over
    the experts that start from the initial heads of the run.
    """
    own = buffer.own_experts
    lengths = buffer.squared_distances[list(own), :, 0, : buffer.last_epochs[own[0]] + 1].sqrt().mean(0)
    settings = config.model_dump(mode="json")
    with TrackerGroup(trackers, folder, settings, progress.note) as group:
        for epoch, distances in enumerate(lengths.T.tolist()):
            named = zip(buffer.modalities, distances, strict=True)
            group.log(MetricsRecord(epoch, {f"distance_from_start/{name}": distance for name, distance in named}))


def given_experts(
    given: Path | ExpertBuffer, data: FeatureSet, config: RunConfig, heads: InitialHeads | None
) -> ExpertBuffer:
    """Return experts that the user passed, after checking that the run can use them.

    Args:
        given: experts, or the Path of stored experts (the output folder of the `experts` command or its subfolder
            `buffer`).
        data: the data of the run.
        config: the settings of the run.
        heads: initial heads that the experts must start from; None accepts any.

    Raises:
        InputError: the experts were trained on different data or from different heads, or have fewer epochs than the
            method needs.
    """
    where = argument("experts", given if isinstance(given, Path) else None)
    buffer = given
    if isinstance(buffer, Path):
        buffer = load_experts(buffer / "buffer" if (buffer / "buffer").is_dir() else buffer)
    identity = buffer.key.identity
    other_heads = heads is not None and heads_fingerprint(heads) != identity.get("heads")
    if identity.get("data") != fingerprint(data) or other_heads:
        raise InputError(
            f"{where}: these expert trajectories were trained on different data or from different initial heads; train "
            "them again"
        )
    _require_epochs(min(buffer.last_epochs), config, where)
    return buffer


def _require_epochs(shortest: int, config: RunConfig, where: str) -> None:
    last = config.distill.last_expert_epoch
    if last > shortest:
        raise InputError(
            f"{where}: these expert trajectories have {shortest} epochs, but the settings need at least {last} epochs; "
            "train experts with a larger experts.num_epochs, or decrease distill.outer.num_expert_epochs"
        )
