"""Train the experts of an expert buffer, or resume interrupted training.

    one process          trains all experts together, and writes a snapshot of their heads after every epoch
    several processes    train blocks of experts in parallel (`experts.blocks`). When all blocks are trained, one
                         snapshot per epoch is written, which contains the heads of all experts

After the last epoch, the squared distances and spectra are computed, and the manifest is written (`experts.buffer`).
If the folder already contains a finished buffer with the same key, this buffer is returned.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.device import moved
from omnidistill.core.engines import Engine, LocalEngine
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.io.artifacts import exclusive
from omnidistill.io.tracking import Progress, SilentProgress
from omnidistill.models.heads import Heads
from omnidistill.training.experts.blocks import BLOCKS, BlockTraining, train_blocks
from omnidistill.training.experts.buffer import (
    ExpertBuffer,
    load_experts,
    save_experts,
    squared_distances,
    update_spectra,
)
from omnidistill.training.experts.expert_key import ExpertKey, StartTraining
from omnidistill.training.experts.experts_config import ExpertsConfig
from omnidistill.training.experts.snapshots import MemorySnapshotWriter, SnapshotWriter, require_same
from omnidistill.training.experts.starts import OWN, Start, require_alike, starts_of_experts


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
    """Train experts and store their trajectories. Interrupted training resumes, with bitwise the same result.

    Args:
        starts: list of initial heads, each with a step size and a number of epochs; `config.num_starts` entries. The
            first entry has the initial heads of the students. Experts 0, 2, 4, ... use this entry. Experts 1, 3, 5,
            ... use the other entries in turn; if there are none, they also use the first entry.
        train: the training rows.
        config: settings of the experts. Step sizes and numbers of epochs are taken from `starts` instead.
        folder: folder of the trajectories; None keeps them in memory.
        seed: seed for the order of the rows.
        seconds: time already spent on preparing the inputs; it is added to the recorded time.
        spectrum_epochs: number of epochs in an update. An update is the change of the first expert's heads over this
            many epochs; the buffer stores the singular values of all updates. None, or a number above the number of
            epochs of this expert: all its epochs are one update.
        identity: fingerprints of data and heads, stored to recognise the trajectories.
        progress: advances by one per epoch or, with several processes, by one per block of experts.
        engine: where to train. An engine with several processes trains blocks of experts in parallel, with bitwise the
            same result.
        reopen: function that opens the training rows in another process; None: the rows are sent to the process.

    Raises:
        InputError: the number of starts is wrong; the heads of the starts differ in shape; the engine has several
            processes, but no folder is given; the folder contains experts with other settings or inputs; or another
            process uses the folder.
        NotFiniteError: training diverged. The finished epochs remain on disk.
    """
    if len(starts) != config.num_starts:
        raise InputError(
            f"experts: the list 'starts' has {len(starts)} entries with initial heads, but the setting "
            f"experts.num_starts is {config.num_starts}; make the two numbers equal"
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
        _remove_state(folder)  # of a process that crashed after the buffer was complete
        return finished
    with exclusive(folder):
        if (finished := _finished(folder, key)) is not None:
            return finished
        writer = SnapshotWriter.open(folder, key, seconds)
        save_experts(train_with(writer), folder, writer.records)
        _remove_state(folder)
    return load_experts(folder, verify=False)


def _remove_state(folder: Path) -> None:
    """Delete the files that only interrupted training needs."""
    with suppress(OSError):
        (folder / "progress.json").unlink(missing_ok=True)
    shutil.rmtree(folder / BLOCKS, ignore_errors=True)


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
        update_spectra(snapshots, modalities, span, last_epochs[0]),
        span,
        tuple(number == OWN for number in start_numbers),
        last_epochs,
        modalities,
        time.monotonic() - started_at,
        key,
    )


def _finished(folder: Path, key: ExpertKey) -> ExpertBuffer | None:
    if not (folder / "manifest.json").exists():
        return None
    buffer = load_experts(folder)
    require_same(folder, buffer.key, key)
    return buffer


def _stacked(runs: Sequence[Heads]) -> dict[str, Float[Tensor, "E _ _"]]:
    return {name: torch.stack([heads[name] for heads in runs]) for name in runs[0]}
