"""Expert buffers: the trajectories of E experts, i.e. the heads before training (epoch 0) and after every epoch.

    BUFFER/epoch-00.safetensors ...     one file per epoch, {modality: E x d x p_m}
    BUFFER/manifest.json                written last: key, ||W_s - W_t||^2 for all pairs of epochs s and t, spectra
    BUFFER/progress.json                list of the finished epochs, from which interrupted training resumes

W_s are the heads after epoch s. The key identifies the settings and inputs of the training (`experts.expert_key`). The
squared norms ||W_s - W_t||^2 are the denominators of the matching loss. The spectra are singular values of the first
expert's updates. From them, a lower bound on the matching loss is computed (the rank floor). Norms and spectra are
stored so that they are computed only once. The file of an epoch is memory-mapped only while its heads are in use, so
memory never has to hold all trajectories. Experts can start from different initial heads (`experts.starts`), and the
number of epochs can differ between them. After the last epoch of an expert, its heads stay constant.
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

from omnidistill.core.device import moved
from omnidistill.core.engines import Engine, LocalEngine
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.io.artifacts import FileRecord, create_again, exclusive, load_artifact, save_artifact
from omnidistill.io.input_files import reading
from omnidistill.io.tracking import Progress, SilentProgress
from omnidistill.models.heads import Heads
from omnidistill.training.experts.blocks import BLOCKS, BlockTraining, train_blocks
from omnidistill.training.experts.expert_key import ExpertKey, StartTraining
from omnidistill.training.experts.experts_config import ExpertsConfig
from omnidistill.training.experts.snapshots import (
    MemorySnapshotWriter,
    Snapshots,
    SnapshotWriter,
    open_snapshots,
    require_same,
)
from omnidistill.training.experts.starts import OWN, Start, require_alike, starts_of_experts
from omnidistill.training.rank_floor import singular_values


@dataclass(frozen=True, repr=False)
class ExpertBuffer:
    """A finished expert buffer: the stored trajectories of all experts."""

    snapshots: Snapshots
    squared_distances: Float[Tensor, "E M S S"]  # ||W_s - W_t||_F^2 for epochs s and t
    spectra: dict[str, Float[Tensor, "_ _"]]  # {modality: epochs s x k}, of the first expert, see `_spectra`
    spectrum_epochs: int  # number of epochs over which each update in `spectra` is taken
    own: tuple[bool, ...]  # for each expert, whether it starts from the initial heads of the run; the first always does
    last_epochs: tuple[int, ...]  # last epoch of each expert, after which its heads stay constant
    modalities: tuple[str, ...]
    seconds: float
    key: ExpertKey

    @property
    def num_experts(self) -> int:
        """Number of experts E."""
        return self.squared_distances.shape[0]

    @property
    def num_epochs(self) -> int:
        """Number of epochs of the longest expert, not counting epoch 0."""
        return len(self.snapshots) - 1

    @property
    def own_experts(self) -> tuple[int, ...]:
        """Indices of the experts that start from the initial heads of the run."""
        return tuple(expert for expert, own in enumerate(self.own) if own)

    @property
    def bytes(self) -> int:
        """Size of the trajectories in bytes."""
        first = self.snapshots[0]
        return len(self.snapshots) * sum(matrix.numel() * matrix.element_size() for matrix in first.values())

    @property
    def choices(self) -> dict[str, str]:
        """Settings that validation chose for the experts that start from the run's initial heads.

        The keys are the names of the settings. The values are texts with the value and the reason for the choice.
        """
        own, config = self.key.starts[OWN], self.key.config
        values = {"learning_rate": f"{own.learning_rate:g}", "num_epochs": str(own.num_epochs)}
        reason = "best validation score of training on all rows"
        return {name: f"{value} ({reason})" for name, value in values.items() if config.get(name, 0) is None}

    def table(self) -> str:
        """Return the number of runs, the number of epochs and the training time in seconds as one line of text."""
        return f"{self.num_experts} runs x {self.num_epochs} epochs, {self.seconds:.0f} s"

    def to_json(self) -> dict[str, Any]:
        """Return the number of experts, number of epochs, training time and size in bytes as JSON values."""
        return {
            "experts": self.num_experts,
            "epochs": self.num_epochs,
            "seconds": self.seconds,
            "bytes": self.bytes,
        }

    def __repr__(self) -> str:
        return f"ExpertBuffer({', '.join(self.modalities)}: {self.table()})"

    def heads(self, expert: int, epoch: int) -> Heads:
        """Return one expert's heads (d x p_m) after an epoch. Do not modify them: they share the snapshot's memory."""
        return _of_expert(self.snapshots[epoch], self.modalities, expert)


def train_experts(
    starts: Sequence[Start],
    train: FeatureSet,
    config: ExpertsConfig,
    folder: Path | None = None,
    *,
    seed: int,
    seconds: float = 0.0,
    spectrum_epochs: int | None = None,
    identity: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    engine: Engine | None = None,
    reopen: Callable[[], FeatureSet] | None = None,
) -> ExpertBuffer:
    """Train experts and write their trajectories. Interrupted training resumes, with bitwise the same result.

    Args:
        starts: `config.num_starts` entries, each with initial heads, a step size and a number of epochs. The first
            entry has the heads from which the students of the set will start. Experts 0, 2, 4, ... use the first entry,
            and the other experts use the other entries in turn. If there is only one entry, all experts use it.
        train: the training rows.
        config: settings of the experts. Step sizes and numbers of epochs are taken from `starts` instead.
        folder: folder of the buffer; None keeps the trajectories in memory.
        seed: seed for the order of the rows.
        seconds: time already spent on preparing the inputs; it is added to the recorded time.
        spectrum_epochs: the buffer stores the singular values of the first expert's updates over this number of
            epochs. None: over all epochs of this expert.
        identity: fingerprints of data and heads. They become part of the key, which identifies the buffer.
        progress: advances by one per epoch or, with several processes, by one per block of experts.
        engine: where to train. An engine with several processes trains blocks of experts in parallel, with bitwise the
            same result.
        reopen: function that opens the training rows in another process; None: the rows are sent to the process.

    Raises:
        InputError: the number of starts is wrong; the heads of the starts differ in shape; the engine has several
            processes, but no folder is given; the folder contains a buffer with a different key; or another process
            uses the folder.
        NotFiniteError: training diverged. The finished epochs remain on disk.
    """
    if len(starts) != config.num_starts:
        raise InputError(
            f"experts: initial heads are given for {len(starts)} starting points, but the setting experts.num_starts "
            f"is {config.num_starts}; make the two numbers equal"
        )
    require_alike(starts)
    start_numbers = starts_of_experts(config.num_experts, len(starts))
    trainings = tuple(StartTraining(start.learning_rate, start.num_epochs) for start in starts)
    key = ExpertKey(config.model_dump(mode="json"), trainings, seed, dict(identity or {}))
    progress, engine = progress or SilentProgress(), engine or LocalEngine()
    if folder is None and not engine.here:
        raise InputError(
            "experts: an engine with several processes needs an output folder; pass a folder, or use engine='local'"
        )

    def train_with(writer: SnapshotWriter | MemorySnapshotWriter) -> ExpertBuffer:
        return _train(starts, start_numbers, train, config, writer, key, spectrum_epochs, progress, engine, reopen)

    if folder is None:
        return train_with(MemorySnapshotWriter(seconds))
    if (finished := _finished(folder, key)) is not None:  # read without the lock: many runs may share a buffer
        return finished
    with exclusive(folder):
        if (finished := _finished(folder, key)) is not None:
            return finished
        writer = SnapshotWriter.open(folder, key, seconds)
        _save(train_with(writer), folder, writer)
    return load_experts(folder, verify=False)


def _train(
    starts: Sequence[Start],
    start_numbers: Sequence[int],
    train: FeatureSet,
    config: ExpertsConfig,
    writer: SnapshotWriter | MemorySnapshotWriter,
    key: ExpertKey,
    spectrum_epochs: int | None,
    progress: Progress,
    engine: Engine,
    reopen: Callable[[], FeatureSet] | None,
) -> ExpertBuffer:
    """Train the epochs that are not written yet, and return the expert buffer.

    Expert e uses the initial heads, the step size and the number of epochs in `starts[start_numbers[e]]`.
    """
    modalities, spent = tuple(starts[OWN].heads), writer.seconds
    rates = tuple(starts[number].learning_rate for number in start_numbers)
    last_epochs = tuple(starts[number].num_epochs for number in start_numbers)
    heads = writer.last(modalities) if len(writer) else _stacked([starts[number].heads for number in start_numbers])
    heads = moved(heads, train.device)
    with progress:
        if not len(writer):
            writer.add(0, heads, spent)
        started_at, done = time.monotonic() - writer.seconds, len(writer) - 1
        rows = (lambda: train) if engine.here or reopen is None else reopen
        training = BlockTraining(writer.folder, modalities, done, rows, config, rates, last_epochs, key.seed)
        if engine.here:
            progress.start(training.num_epochs, "experts", done, writer.seconds)
            for epoch in training.epochs(heads):
                writer.add(epoch, heads, time.monotonic() - started_at)
                progress.advance(1)
        elif done < training.num_epochs:
            train_blocks(writer, heads, training, len(train), engine, started_at, progress)
    snapshots = writer.snapshots()
    span = min(spectrum_epochs or last_epochs[0], last_epochs[0])
    return ExpertBuffer(
        snapshots,
        squared_distances(snapshots, modalities),
        _spectra(snapshots, modalities, span, last_epochs[0]),
        span,
        tuple(number == OWN for number in start_numbers),
        last_epochs,
        modalities,
        time.monotonic() - started_at,
        key,
    )


def _save(buffer: ExpertBuffer, folder: Path, writer: SnapshotWriter) -> None:
    """Write the manifest of an expert buffer whose snapshots are in the folder."""
    spectra = {f"spectrum/{name}": values for name, values in buffer.spectra.items()}
    meta = {
        "key": buffer.key.to_json(),
        "files": [asdict(record) for record in writer.records],
        "modalities": list(buffer.modalities),
        "seconds": buffer.seconds,
        "spectrum_epochs": buffer.spectrum_epochs,
        "own": list(buffer.own),
        "last_epochs": list(buffer.last_epochs),
    }
    save_artifact(folder, "experts", {"squared_distances": buffer.squared_distances, **spectra}, meta)
    (folder / "progress.json").unlink(missing_ok=True)
    shutil.rmtree(folder / BLOCKS, ignore_errors=True)


def load_experts(folder: Path, verify: bool = True) -> ExpertBuffer:
    """Open stored expert trajectories (a finished expert buffer).

    Args:
        folder: folder of the buffer.
        verify: whether to verify the sha256 checksum of every snapshot. This reads all snapshots once.

    Raises:
        InputError: the buffer is damaged or unfinished.
    """
    artifact = load_artifact(folder, "experts")
    meta = artifact.meta
    with reading(str(folder), create_again(folder)):
        modalities = tuple(meta["modalities"])
        buffer = ExpertBuffer(
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
        _check_shapes(buffer)
    return buffer


def _check_shapes(buffer: ExpertBuffer) -> None:
    """Raise ValueError unless the parts of a buffer agree in the numbers of experts, modalities and snapshots."""
    num_experts, num_snapshots = len(buffer.last_epochs), len(buffer.snapshots)
    expected = (num_experts, len(buffer.modalities), num_snapshots, num_snapshots)
    if tuple(buffer.squared_distances.shape) != expected or len(buffer.own) != num_experts:
        raise ValueError(f"squared_distances have shape {tuple(buffer.squared_distances.shape)}, expected {expected}")
    if not all(type(last) is int and 0 <= last < num_snapshots for last in buffer.last_epochs):
        raise ValueError(f"last_epochs is {list(buffer.last_epochs)} for {num_snapshots} snapshots")
    first = buffer.snapshots[0]
    shapes = {name: tuple(first[name].shape) for name in buffer.modalities}
    if not all(len(shape) == 3 and shape[0] == num_experts for shape in shapes.values()):
        raise ValueError(f"the heads have the shapes {shapes}, expected {num_experts} matrices each")


def squared_distances(snapshots: Snapshots, modalities: Sequence[str]) -> Float[Tensor, "E M S S"]:
    """Return ||W_s - W_t||_F^2 for all pairs of epochs s and t, per expert and modality.

    W_s is the head after epoch s. Only one expert is loaded at a time.
    """
    num_experts, count = len(snapshots[0][modalities[0]]), len(snapshots)
    table = torch.zeros(num_experts, len(modalities), count, count, device="cpu")
    for expert in range(num_experts):
        path = [_of_expert(snapshots[epoch], modalities, expert) for epoch in range(count)]
        for m, name in enumerate(modalities):
            gap = torch.empty_like(path[0][name])
            for s, t in combinations(range(count), 2):
                torch.sub(path[t][name], path[s][name], out=gap)
                table[expert, m, s, t] = table[expert, m, t, s] = gap.square_().sum()
    return table


def _finished(folder: Path, key: ExpertKey) -> ExpertBuffer | None:
    if not (folder / "manifest.json").exists():
        return None
    buffer = load_experts(folder)
    require_same(folder, buffer.key, key)
    return buffer


def _stacked(runs: Sequence[Heads]) -> dict[str, Float[Tensor, "E _ _"]]:
    return {name: torch.stack([heads[name] for heads in runs]) for name in runs[0]}


def _of_expert(snapshot: Mapping[str, Tensor], modalities: Sequence[str], expert: int) -> Heads:
    return {name: snapshot[name][expert] for name in modalities}


def _spectra(
    snapshots: Snapshots, modalities: Sequence[str], span: int, last_epoch: int
) -> dict[str, Float[Tensor, "_ _"]]:
    """Return the singular values of the first expert's updates over `span` epochs, from every possible first epoch."""
    pairs = [(snapshots[s], snapshots[s + span]) for s in range(last_epoch - span + 1)]
    return {
        name: torch.stack([singular_values(start[name][0] - end[name][0]) for start, end in pairs])
        for name in modalities
    }
