"""Expert trajectories on disk: heads of E runs after every epoch (epoch 0 included).

    BUFFER/epoch-00.safetensors ...     one file an epoch, {modality: E x d x p_m}
    BUFFER/manifest.json                written last: what trained them, ||W_s - W_t||^2 of every two epochs, spectra
    BUFFER/progress.json                which epochs are done: an interrupted training goes on to the same bits

The squared norms (the denominators of the matching loss, eq. 2-3) and the singular values of the first expert's
differences (its rank floor) are stored with the trajectories, so matching never recomputes them. An epoch's file is
mapped while its heads are in use and no longer, so memory holds what one episode reads, not the trajectories.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.artifacts import (
    FileRecord,
    exclusive,
    load_artifact,
    read_json,
    read_tensors,
    save_artifact,
    write_atomic,
    write_tensors,
)
from omnidistill.config import ExpertsConfig
from omnidistill.errors import InputError
from omnidistill.experts.train import train_epochs
from omnidistill.features.featureset import FeatureSet
from omnidistill.floor import singular_values
from omnidistill.heads import Heads
from omnidistill.objectives import objective_from
from omnidistill.tracking import Progress, SilentProgress

_PURPOSE = "experts"


@dataclass(frozen=True)
class Snapshots:
    """The heads after each epoch, {modality: E x d x p_m}; each mapped anew when asked for, never to be written to."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, epoch: int) -> dict[str, Float[Tensor, "_ _ _"]]:
        return read_tensors(self.paths[epoch])


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
) -> ExpertBuffer:
    """Train E experts from the given heads and write the buffer; continues an interrupted one to the same bits.

    Experts start from the given heads and the `others` in turns. `identity` names data and heads; a buffer of another
    identity, configuration or seed is refused. `seconds` were spent before, on what the buffer is made from.

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
            _require_same(folder, buffer.meta["key"], key)
            return buffer
        records, seconds, heads = _resume(folder, key, [start, *others], config, seconds)
        objective = objective_from(config.objective, list(start))
        with progress:
            progress.start(num_epochs, "experts", len(records) - 1 if records else 0)
            if not records:
                records.append(_snapshot(folder, 0, heads))
                _save_progress(folder, key, records, seconds)
            begun = time.monotonic() - seconds
            epochs = train_epochs(
                objective,
                heads,
                train,
                torch.full((config.num_experts,), rate),
                batch_size=config.batch_size,
                num_epochs=num_epochs,
                seed=seed,
                purpose=_PURPOSE,
                first_epoch=len(records) - 1,
            )
            for epoch in epochs:
                records.append(_snapshot(folder, epoch, heads))
                _save_progress(folder, key, records, time.monotonic() - begun)
                progress.advance(1)
        snapshots = _open(folder, records, verify=False)
        tensors = {
            "squared_distances": squared_distances(snapshots, list(start)),
            **_spectra(snapshots, list(start), spectrum_epochs),
        }
        meta = {
            "key": key,
            "files": [asdict(record) for record in records],
            "modalities": list(start),
            "seconds": time.monotonic() - begun,
            "spectrum_epochs": min(spectrum_epochs, num_epochs),
        }
        save_artifact(folder, "experts", tensors, meta)
        (folder / "progress.json").unlink(missing_ok=True)
    return load_experts(folder, verify=False)


def load_experts(folder: Path, verify: bool = True) -> ExpertBuffer:
    """Open a finished buffer. `verify` compares the sha256 of every snapshot, which reads them once.

    Raises InputError for a damaged or unfinished one.
    """
    artifact = load_artifact(folder, "experts")
    meta = artifact.meta
    modalities = tuple(meta["modalities"])
    return ExpertBuffer(
        _open(folder, [FileRecord(**record) for record in meta["files"]], verify),
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


def _snapshot(folder: Path, epoch: int, heads: Mapping[str, Tensor]) -> FileRecord:
    return write_tensors(folder / f"epoch-{epoch:02d}.safetensors", heads)


def _open(folder: Path, records: Sequence[FileRecord], verify: bool) -> Snapshots:
    """The snapshots of these files; their lengths, or their contents too, are as recorded."""
    paths = tuple(folder / Path(record.name).name for record in records)
    for path, record in zip(paths, records, strict=True):
        if not path.is_file() or path.stat().st_size != record.bytes:
            raise InputError(f"{path}: missing or not {record.bytes} bytes long; train the experts again")
        read_tensors(path, record if verify else None)
    return Snapshots(paths)


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


def _resume(
    folder: Path, key: Mapping[str, Any], starts: Sequence[Heads], config: ExpertsConfig, seconds: float
) -> tuple[list[FileRecord], float, dict[str, Tensor]]:
    """Finished epochs, their seconds, and the heads to go on from."""
    path = folder / "progress.json"
    if not path.exists():
        turns = [starts[expert % len(starts)] for expert in range(config.num_experts)]
        return [], seconds, {name: torch.stack([heads[name] for heads in turns]) for name in starts[0]}
    try:
        state = read_json(path)
        found, seconds = dict(state["key"]), float(state["seconds"])
        records = [FileRecord(**{**record, "name": Path(record["name"]).name}) for record in state["files"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); remove {folder} and train the experts again") from error
    _require_same(folder, found, key)
    last = read_tensors(folder / records[-1].name, records[-1])
    return records, seconds, {name: last[name].clone() for name in starts[0]}


def _save_progress(folder: Path, key: Mapping[str, Any], records: Sequence[FileRecord], seconds: float) -> None:
    state = {"key": key, "files": [asdict(record) for record in records], "seconds": seconds}
    write_atomic(folder / "progress.json", json.dumps(state).encode())


def _require_same(folder: Path, found: Any, wanted: Mapping[str, Any]) -> None:
    if found != json.loads(json.dumps(wanted)):
        differing = [name for name in wanted if found.get(name) != json.loads(json.dumps(wanted[name]))]
        raise InputError(
            f"{folder}: holds experts of another run (different {', '.join(differing)}); "
            "choose another folder or remove it"
        )
