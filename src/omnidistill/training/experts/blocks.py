"""Parallel training of experts: the experts are divided into blocks, and a process trains one block at a time.

A run is the training of one expert, and a block consists of consecutive runs.

    BUFFER/blocks/<initial epoch>-<first run>/    snapshots of one block; removed after training

Training in a single process uses the same blocks (`run_blocks`), so the results are bitwise equal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from omnidistill.core.device import moved
from omnidistill.core.engines import Engine
from omnidistill.data.featureset import FeatureSet
from omnidistill.io.artifacts import exclusive, read_tensors
from omnidistill.io.tracking import Progress
from omnidistill.training.experts.epochs import StackedHeads, run_blocks, train_epochs
from omnidistill.training.experts.experts_config import ExpertsConfig
from omnidistill.training.experts.snapshots import BlockKey, MemorySnapshotWriter, SnapshotWriter, snapshot_path

BLOCKS = "blocks"
"""Folder in an unfinished buffer that contains the snapshots of the blocks."""


def train_blocks(
    writer: SnapshotWriter | MemorySnapshotWriter,
    heads: StackedHeads,
    training: BlockTraining,
    num_rows: int,
    engine: Engine,
    started_at: float,
    progress: Progress,
) -> None:
    """Train all experts in blocks, then write one snapshot per epoch with the heads of all experts.

    A block consists of experts with consecutive numbers, which one process trains together.

    Args:
        writer: writes the snapshots.
        heads: heads of all experts before training.
        training: function that trains one block.
        num_rows: number of training rows.
        engine: calls `training` for all blocks, in one or several processes.
        started_at: value of `time.monotonic()` when the training started.
        progress: shows the number of trained blocks.

    Raises:
        NotFiniteError: the training of a block diverged. The finished epochs of all blocks remain on disk.
    """
    blocks = run_blocks(heads, min(training.config.batch_size, num_rows))
    progress.start(len(blocks), "experts (blocks of runs)")
    with closing(engine.run(training, blocks)) as finished:
        for done in finished:
            done.result()
            progress.advance(1)
    for epoch in range(len(writer), training.num_epochs + 1):
        parts = [read_tensors(snapshot_path(training.folder(runs), epoch)) for runs in blocks]
        heads = {name: torch.cat([part[name] for part in parts]) for name in training.modalities}
        writer.add(epoch, heads, time.monotonic() - started_at)


@dataclass(frozen=True)
class BlockTraining:
    """Trains one block of the experts, that is, experts with consecutive numbers. Interrupted training can be resumed.

    Training starts from a snapshot, which contains the heads of all experts after epoch `first_epoch`.

    Attributes:
        buffer: folder of the expert trajectories; None if they are kept in memory.
        modalities: names of the modalities, in order.
        first_epoch: epoch of the snapshot from which training starts.
        rows: function that loads the training rows; called once per process.
        config: settings of the experts.
        learning_rates: step size of each expert.
        last_epochs: last epoch of each expert. Afterwards, the heads of the expert stay constant.
        seed: seed for the order of the rows.
    """

    buffer: Path | None
    modalities: tuple[str, ...]
    first_epoch: int
    rows: Callable[[], FeatureSet]
    config: ExpertsConfig
    learning_rates: tuple[float, ...]
    last_epochs: tuple[int, ...]
    seed: int

    @property
    def num_epochs(self) -> int:
        """Largest number of epochs of any expert."""
        return max(self.last_epochs)

    @cached_property
    def train(self) -> FeatureSet:
        """The training rows, loaded at the first access."""
        return self.rows()

    def folder(self, runs: slice) -> Path:
        """Return the folder for the snapshots of these runs, which are trained together as one block."""
        assert self.buffer is not None  # without a folder, no other process trains single blocks
        return self.buffer / BLOCKS / f"{self.first_epoch}-{runs.start}"

    def __call__(self, runs: slice) -> None:
        """Train the block of experts with the numbers `runs`, and store their snapshots.

        Raises:
            NotFiniteError: the training diverged.
        """
        folder = self.folder(runs)
        with exclusive(folder):
            writer = SnapshotWriter.open(folder, BlockKey((runs.start, runs.stop)))
            if writer.records:
                heads = writer.last(self.modalities)
            else:
                every = read_tensors(snapshot_path(folder.parents[1], self.first_epoch))
                heads = {name: every[name][runs].clone() for name in self.modalities}
            heads = moved(heads, self.train.device)
            for epoch in self.epochs(heads, len(writer.records), runs.start):
                writer.add(epoch, heads, 0.0)

    def epochs(self, heads: StackedHeads, done: int = 0, first_run: int = 0) -> Iterator[int]:
        """Train the heads of consecutive experts in place, and yield the number of each finished epoch.

        Args:
            heads: heads of these experts after epoch `self.first_epoch + done`.
            done: number of epochs after `self.first_epoch` that are already finished.
            first_run: index of the first of these experts among all experts.
        """
        runs = slice(first_run, first_run + len(next(iter(heads.values()))))
        return train_epochs(
            self.config.objective.bind(self.modalities),
            heads,
            self.train,
            torch.tensor(self.learning_rates[runs], device="cpu"),
            batch_size=self.config.batch_size,
            num_epochs=self.num_epochs,
            seed=self.seed,
            purpose="experts",
            last_epochs=self.last_epochs[runs],
            first_epoch=self.first_epoch + done,
            first_run=first_run,
        )
