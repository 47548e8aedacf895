"""Parallel training of experts: an engine with several processes trains blocks of runs as its units.

    BUFFER/blocks/<initial epoch>-<first run>/    snapshots of the runs of a block; joined and removed at the end

The blocks are those in which a single process trains the runs (`run_blocks`), so the results are bitwise the same.
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
"""Folder, within an unfinished buffer, of the snapshots of blocks."""


def train_blocks(
    writer: SnapshotWriter | MemorySnapshotWriter,
    heads: StackedHeads,
    training: BlockTraining,
    num_rows: int,
    engine: Engine,
    started_at: float,
    progress: Progress,
) -> None:
    """Train all blocks of runs, and write their joined snapshots.

    Args:
        writer: writer of the snapshots of all runs.
        heads: heads of all runs in the last snapshot.
        training: how to train a block.
        num_rows: number of training rows.
        engine: runs the blocks.
        started_at: time at which the training started, by the monotonic clock.
        progress: advances by one per block.

    Raises:
        NotFiniteError: a block diverged; the finished epochs of all blocks remain on disk.
    """
    blocks = run_blocks(heads, min(training.config.batch_size, num_rows))
    progress.start(len(blocks), "experts, blocks of runs")
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
    """Trains a block of runs, starting from the snapshot of the buffer after `first_epoch`; resumes if interrupted.

    Attributes:
        buffer: folder of the buffer; None: all runs are trained together in memory.
        modalities: names of the modalities, in order.
        first_epoch: epoch of the snapshot from which the block starts.
        rows: function that opens the training rows; called once per process.
        config: settings of the experts.
        learning_rates: step size of every run.
        last_epochs: last epoch of every run; its heads stay constant afterwards.
        seed: seed of the order of the rows.
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
        """Number of epochs of the longest runs."""
        return max(self.last_epochs)

    @cached_property
    def train(self) -> FeatureSet:
        """The training rows."""
        return self.rows()

    def folder(self, runs: slice) -> Path:
        """Return the folder of the snapshots of a block."""
        assert self.buffer is not None  # blocks are trained on their own only by other processes
        return self.buffer / BLOCKS / f"{self.first_epoch}-{runs.start}"

    def __call__(self, runs: slice) -> None:
        """Train one block.

        Raises:
            NotFiniteError: the block diverged.
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
        """Train these heads in place, starting `done` epochs after `first_epoch`; yield the number of each epoch."""
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
