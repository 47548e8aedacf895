"""Expert trajectories on disk: heads of E runs after every epoch (epoch 0 included).

    BUFFER/epoch-00.safetensors ...     one file an epoch, {modality: E x d x p_m}
    BUFFER/manifest.json                written last: what trained them, ||W_s - W_t||^2 of every two epochs, spectra
    BUFFER/progress.json                which epochs are done: an interrupted training goes on to the same bits

The squared norms (the denominators of the matching loss, eq. 2-3) and the singular values of the first expert's
differences (its rank floor) are stored with the trajectories, so matching never recomputes them. An epoch's file is
mapped while its heads are in use and no longer, so memory holds what one episode reads, not the trajectories.
Experts may start from several heads (`experts.starts`), each with a training of its own; one whose training is shorter
stands still after its last epoch.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.engines import Engine, LocalEngine
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.io.artifacts import FileRecord, exclusive, load_artifact, save_artifact
from omnidistill.io.tracking import Progress, SilentProgress
from omnidistill.models.heads import Heads
from omnidistill.training.experts.blocks import BLOCKS, BlockTraining, train_blocks
from omnidistill.training.experts.expert_key import ExpertKey, StartTraining
from omnidistill.training.experts.experts_config import ExpertsConfig
from omnidistill.training.experts.snapshots import Snapshots, Trail, open_snapshots, require_same
from omnidistill.training.experts.starts import OWN, Start, require_alike, starts_of_experts
from omnidistill.training.rank_floor import singular_values


@dataclass(frozen=True)
class ExpertBuffer:
    """Trajectories ready for matching."""

    snapshots: Snapshots
    squared_distances: Float[Tensor, "E M S S"]  # ||W_s - W_t||_F^2 of epochs s, t
    spectra: dict[str, Float[Tensor, "_ _"]]  # {modality: starts x k} singular values of the first expert's differences
    spectrum_epochs: int  # epochs that those differences span
    own: tuple[bool, ...]  # which experts start from the run's own heads; the first does
    last_epochs: tuple[int, ...]  # of every expert, which stands still after it
    modalities: tuple[str, ...]
    seconds: float
    key: ExpertKey

    @property
    def num_experts(self) -> int:
        """E."""
        return self.squared_distances.shape[0]

    @property
    def num_epochs(self) -> int:
        """Epochs after the start, of the experts that go on longest."""
        return len(self.snapshots) - 1

    @property
    def own_experts(self) -> tuple[int, ...]:
        """Those that start from the run's own heads."""
        return tuple(expert for expert, own in enumerate(self.own) if own)

    def heads(self, expert: int, epoch: int) -> Heads:
        """Heads of one expert after an epoch (d x p_m views)."""
        return _of_expert(self.snapshots[epoch], self.modalities, expert)


def train_experts(
    starts: Sequence[Start],
    train: FeatureSet,
    config: ExpertsConfig,
    folder: Path,
    *,
    seed: int,
    seconds: float = 0.0,
    spectrum_epochs: int | None = None,
    identity: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    engine: Engine | None = None,
    reopen: Callable[[], FeatureSet] | None = None,
) -> ExpertBuffer:
    """Train E experts from `config.num_starts` starts and write the buffer; continues an interrupted one to the same
    bits.

    The first start is the run's own heads, which every second expert starts from. Step sizes and epochs are those of
    the starts, not of `config`. `spectrum_epochs` is the span of the stored spectra; absent, all epochs of the first
    expert. `identity` names data and heads; a buffer of another identity, configuration, training or seed is refused.
    `seconds` were spent before, on what the buffer is made from.
    With an engine of other processes, blocks of runs are trained side by side, to the same bits; `reopen` opens the
    training rows there, which are sent to them without.

    Raises:
        InputError: the folder holds another buffer, or is in use; starts of another number, or unlike each other.
        NotFiniteError: training diverged; finished epochs stay.
    """
    if len(starts) != config.num_starts:
        raise InputError(f"{len(starts)} starts given, but experts.num_starts = {config.num_starts}; give as many")
    require_alike(starts)
    turns = starts_of_experts(config.num_experts, len(starts))
    rates = tuple(starts[turn].learning_rate for turn in turns)
    last_epochs = tuple(starts[turn].num_epochs for turn in turns)
    trainings = tuple(StartTraining(start.learning_rate, start.num_epochs) for start in starts)
    key = ExpertKey(config.model_dump(mode="json"), trainings, seed, dict(identity or {}))
    progress, engine = progress or SilentProgress(), engine or LocalEngine()
    with exclusive(folder):
        if (folder / "manifest.json").exists():
            buffer = load_experts(folder)
            require_same(folder, buffer.key, key)
            return buffer
        trail, modalities = Trail.open(folder, key, seconds), tuple(starts[OWN].heads)
        heads = trail.last(modalities) if trail.records else _stacked([starts[turn].heads for turn in turns])
        with progress:
            if not trail.records:
                trail.add(0, heads, seconds)
            started_at, done = time.monotonic() - trail.seconds, len(trail.records) - 1
            rows = (lambda: train) if engine.here or reopen is None else reopen
            training = BlockTraining(folder, modalities, done, rows, config, rates, last_epochs, seed)
            if engine.here:
                progress.start(training.num_epochs, "experts", done)
                for epoch in training.epochs(heads):
                    trail.add(epoch, heads, time.monotonic() - started_at)
                    progress.advance(1)
            elif done < training.num_epochs:
                train_blocks(trail, heads, training, len(train), engine, started_at, progress)
        snapshots = open_snapshots(folder, trail.records, verify=False)
        span = min(spectrum_epochs or last_epochs[0], last_epochs[0])
        tensors = {
            "squared_distances": squared_distances(snapshots, modalities),
            **_spectra(snapshots, modalities, span, last_epochs[0]),
        }
        meta = {
            "key": key.to_json(),
            "files": [asdict(record) for record in trail.records],
            "modalities": list(modalities),
            "seconds": time.monotonic() - started_at,
            "spectrum_epochs": span,
            "own": [turn == OWN for turn in turns],
            "last_epochs": list(last_epochs),
        }
        save_artifact(folder, "experts", tensors, meta)
        (folder / "progress.json").unlink(missing_ok=True)
        shutil.rmtree(folder / BLOCKS, ignore_errors=True)
    return load_experts(folder, verify=False)


def load_experts(folder: Path, verify: bool = True) -> ExpertBuffer:
    """Open a finished buffer. `verify` compares the sha256 of every snapshot, which reads them once.

    Raises InputError for a damaged or unfinished one.
    """
    artifact = load_artifact(folder, "experts")
    meta = artifact.meta
    try:
        modalities = tuple(meta["modalities"])
        return ExpertBuffer(
            open_snapshots(folder, [FileRecord(**record) for record in meta["files"]], verify),
            artifact.tensors["squared_distances"],
            {name: artifact.tensors[f"spectrum/{name}"] for name in modalities},
            meta["spectrum_epochs"],
            tuple(meta["own"]),
            tuple(meta["last_epochs"]),
            modalities,
            meta["seconds"],
            ExpertKey.from_json(meta["key"], str(folder)),
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder}: experts of another version, or damaged ({error}); train them again") from error


def squared_distances(snapshots: Snapshots, modalities: Sequence[str]) -> Float[Tensor, "E M S S"]:
    """||W_s - W_t||_F^2 of every pair of snapshots, per expert and modality; one expert in memory at a time."""
    num_experts, count = len(snapshots[0][modalities[0]]), len(snapshots)
    table = torch.zeros(num_experts, len(modalities), count, count)
    for expert in range(num_experts):
        path = [_of_expert(snapshots[epoch], modalities, expert) for epoch in range(count)]
        for m, name in enumerate(modalities):
            gap = torch.empty_like(path[0][name])
            for s, t in combinations(range(count), 2):
                torch.sub(path[t][name], path[s][name], out=gap)
                table[expert, m, s, t] = table[expert, m, t, s] = gap.square_().sum()
    return table


def _stacked(runs: Sequence[Heads]) -> dict[str, Float[Tensor, "E _ _"]]:
    return {name: torch.stack([heads[name] for heads in runs]) for name in runs[0]}


def _of_expert(snapshot: Mapping[str, Tensor], modalities: Sequence[str], expert: int) -> Heads:
    return {name: snapshot[name][expert] for name in modalities}


def _spectra(
    snapshots: Snapshots, modalities: Sequence[str], span: int, last_epoch: int
) -> dict[str, Float[Tensor, "_ _"]]:
    """Singular values of the first expert's W_s - W_{s + span} for every start s up to its last epoch."""
    pairs = [(snapshots[s], snapshots[s + span]) for s in range(last_epoch - span + 1)]
    return {
        f"spectrum/{name}": torch.stack([singular_values(start[name][0] - end[name][0]) for start, end in pairs])
        for name in modalities
    }
