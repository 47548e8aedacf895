"""Expert trajectories on disk: heads of E runs after every epoch (epoch 0 included).

    BUFFER/epoch-00.safetensors ...     one file an epoch, {modality: E x d x p_m}
    BUFFER/manifest.json                written last: what trained them, ||W_s - W_t||^2 of every two epochs, spectra
    BUFFER/progress.json                which epochs are done: an interrupted training goes on to the same bits

The squared norms (the denominators of the matching loss, eq. 2-3) and the singular values of the first expert's
differences (its rank floor) are stored with the trajectories, so matching never recomputes them. An epoch's file is
mapped while its heads are in use and no longer, so memory holds what one episode reads, not the trajectories.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.artifacts import FileRecord, exclusive, load_artifact, save_artifact
from omnidistill.config import ExpertsConfig
from omnidistill.engine import Engine
from omnidistill.errors import InputError
from omnidistill.experts.blocks import BLOCKS, BlockTraining, train_blocks
from omnidistill.experts.snapshots import Snapshots, Trail, open_snapshots, require_same
from omnidistill.features.featureset import FeatureSet
from omnidistill.floor import singular_values
from omnidistill.heads import Heads
from omnidistill.tracking import Progress, SilentProgress


@dataclass(frozen=True)
class ExpertBuffer:
    """Trajectories ready for matching."""

    snapshots: Snapshots
    squared_distances: Float[Tensor, "E M S S"]  # ||W_s - W_t||_F^2 of epochs s, t
    spectra: dict[str, Float[Tensor, "_ _"]]  # {modality: starts x k} singular values of the first expert's differences
    spectrum_epochs: int  # epochs that those differences span
    modalities: tuple[str, ...]
    seconds: float
    meta: dict[str, Any]

    @property
    def num_experts(self) -> int:
        """E."""
        return self.squared_distances.shape[0]

    @property
    def num_epochs(self) -> int:
        """Epochs after the start."""
        return len(self.snapshots) - 1

    def heads(self, expert: int, epoch: int) -> Heads:
        """Heads of one expert after an epoch (d x p_m views)."""
        return _of_expert(self.snapshots[epoch], self.modalities, expert)


def train_experts(
    start: Heads,
    train: FeatureSet,
    config: ExpertsConfig,
    folder: Path,
    *,
    seed: int,
    others: Sequence[Heads] = (),
    seconds: float = 0.0,
    spectrum_epochs: int = 2,
    identity: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    engine: Engine | None = None,
    reopen: Callable[[], FeatureSet] | None = None,
) -> ExpertBuffer:
    """Train E experts from the given heads and write the buffer; continues an interrupted one to the same bits.

    Experts start from the given heads and the `others` in turns. `identity` names data and heads; a buffer of another
    identity, configuration or seed is refused. `seconds` were spent before, on what the buffer is made from.
    With an engine of other processes, blocks of runs are trained side by side, to the same bits; `reopen` opens the
    training rows there, which are sent to them without.

    Raises:
        InputError: the folder holds another buffer, or is in use; step size or epochs were not chosen.
        NotFiniteError: training diverged; finished epochs stay.
    """
    rate, num_epochs = config.learning_rate, config.num_epochs
    if rate is None or num_epochs is None:
        raise InputError(
            "experts: learning_rate and num_epochs must be numbers here; give them, or have them chosen by 'experts'"
        )
    key = {"config": config.model_dump(mode="json"), "seed": seed, "identity": dict(identity or {})}
    progress = progress or SilentProgress()
    with exclusive(folder):
        if (folder / "manifest.json").exists():
            buffer = load_experts(folder)
            require_same(folder, buffer.meta["key"], key)
            return buffer
        trail, modalities = Trail.found(folder, key, seconds), tuple(start)
        heads = trail.last(modalities) if trail.records else _stacked([start, *others], config.num_experts)
        with progress:
            if not trail.records:
                trail.add(0, heads, seconds)
            begun, done = time.monotonic() - trail.seconds, len(trail.records) - 1
            if engine is None or engine.here:
                progress.start(num_epochs, "experts", done)
                training = BlockTraining(folder, modalities, done, lambda: train, config, rate, num_epochs, seed)
                for epoch in training.epochs(heads):
                    trail.add(epoch, heads, time.monotonic() - begun)
                    progress.advance(1)
            elif done < num_epochs:
                rows = reopen or (lambda: train)
                training = BlockTraining(folder, modalities, done, rows, config, rate, num_epochs, seed)
                train_blocks(trail, heads, training, len(train), engine, begun, progress)
        snapshots = open_snapshots(folder, trail.records, verify=False)
        tensors = {
            "squared_distances": squared_distances(snapshots, list(start)),
            **_spectra(snapshots, list(start), spectrum_epochs),
        }
        meta = {
            "key": key,
            "files": [asdict(record) for record in trail.records],
            "modalities": list(start),
            "seconds": time.monotonic() - begun,
            "spectrum_epochs": min(spectrum_epochs, num_epochs),
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
    modalities = tuple(meta["modalities"])
    return ExpertBuffer(
        open_snapshots(folder, [FileRecord(**record) for record in meta["files"]], verify),
        artifact.tensors["squared_distances"],
        {name: artifact.tensors[f"spectrum/{name}"] for name in modalities},
        meta["spectrum_epochs"],
        modalities,
        meta["seconds"],
        meta,
    )


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


def _stacked(starts: Sequence[Heads], num_experts: int) -> dict[str, Tensor]:
    """The heads that experts start from, in turns."""
    turns = [starts[expert % len(starts)] for expert in range(num_experts)]
    return {name: torch.stack([heads[name] for heads in turns]) for name in starts[0]}


def _of_expert(snapshot: Mapping[str, Tensor], modalities: Sequence[str], expert: int) -> Heads:
    return {name: snapshot[name][expert] for name in modalities}


def _spectra(snapshots: Snapshots, modalities: Sequence[str], num_epochs: int) -> dict[str, Float[Tensor, "_ _"]]:
    """Singular values of the first expert's W_s - W_{s + num_epochs} for every start s."""
    span = min(num_epochs, len(snapshots) - 1)
    pairs = [(snapshots[s], snapshots[s + span]) for s in range(len(snapshots) - span)]
    return {
        f"spectrum/{name}": torch.stack([singular_values(start[name][0] - end[name][0]) for start, end in pairs])
        for name in modalities
    }
