"""Learn a migration kit (maps between the embeddings of two encoders), and compare these maps with other maps."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch

from omnidistill.core.arguments import argument
from omnidistill.core.device import resolve_device
from omnidistill.core.errors import InputError
from omnidistill.core.threads import threads_for
from omnidistill.data.embedding_pairs import Pairs
from omnidistill.evaluation.migration_baselines import (
    AllPairs,
    MapCandidate,
    MapProblem,
    low_rank_maps,
    oriented,
    random_pairs,
)
from omnidistill.evaluation.migration_scores import recalls_of
from omnidistill.experiments.migration.kit import kit_of, kit_tensors
from omnidistill.experiments.migration.learn_kit import frame_of, learn_rows, learning_settings, size_for
from omnidistill.experiments.migration.migration_result import Migration, require_output
from omnidistill.experiments.migration.migration_settings import MigrationSettings
from omnidistill.experiments.migration.paired_input import SPLITS, PairedInput, Side, open_pairs
from omnidistill.experiments.run.run_identity import versions
from omnidistill.io.tracking import Progress, shown
from omnidistill.models.storages import RowStorage, Storage
from omnidistill.report.migration_content import MigrationContent, MigrationRow, TaskRecall

Baselines = Literal["all", "quick", "none"]
"""Which maps to compare a kit with: all, only those in closed form, or none."""


def migrate(
    old: Side,
    new: Side,
    *,
    size: int | None = None,
    bytes: str | int | None = None,
    groups: Sequence[object] | Path | None = None,
    settings: MigrationSettings | None = None,
    baselines: Baselines = "all",
    seed: int = 0,
    folder: str | Path | None = None,
    force: bool = False,
    device: str | torch.device = "auto",
    progress: Progress | bool = True,
    command: str = "",
) -> Migration:
    """Learn a migration kit, which maps embeddings of an old encoder to the space of a new encoder and back.

    A kit consists of paired rows, from which both maps are computed. It is learned from embeddings of the same items.
    80 % of the items are for training, 10 % choose settings, and 10 % are scored once for the report. Embeddings from a
    packed dataset use the splits of the dataset instead. Embeddings are compared by their cosine similarity.

    Args:
        old: embeddings of the old encoder: an array (n x p), the Path of a .npy file, or "SET:MODALITY".
        new: embeddings of the new encoder for the same items in the same order (n x q).
        size: number of paired rows in the kit.
        bytes: total size of the files of the kit, instead of `size`: in bytes (200000, "200kB") or in percent of the
            training pairs in float32. The default is "1%".
        groups: group of each item, or a file with one group per item. Items of a group are in the same split. Not
            allowed with "SET:MODALITY", because a dataset has its own groups.
        settings: how the kit is learned and stored.
        baselines: other maps with which the report compares the kit: "all", "quick" (only those in closed form) or
            "none".
        seed: seed for the splits and for learning.
        folder: folder of the kit; None keeps it in memory. The report is saved next to the folder.
        force: whether to replace an existing kit and report.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        progress: whether to show progress, or the object that shows it.
        command: command line, recorded in the report.

    Returns:
        The kit and its report.

    Raises:
        InputError: the embeddings cannot be read or do not belong together, the size is too small or too large, or
            the folder is not empty or the report exists, and `force` is False.
    """
    chosen, display = settings or MigrationSettings(), shown(progress)
    if folder is not None:
        require_output(Path(folder), force)
    if baselines not in ("all", "quick", "none"):
        raise InputError(f"{argument('baselines', baselines)}: unknown; choose from 'all', 'quick' and 'none'")
    source = open_pairs(old, new, groups, seed)
    place = resolve_device(device)
    pairs = {split: source.read(split, seed).to(place) for split in SPLITS}
    train = pairs["train"]
    means, frame = frame_of(train)
    whole = source.training_bytes
    num_rows = size_for(size, bytes, source.widths, chosen.storage, means, frame.unit, len(train), whole)
    problem = MapProblem(train, pairs["validation"], frame, seed)
    with display, threads_for(num_rows, source.widths, min(chosen.batch_size, len(train))):
        started_at = time.monotonic()
        display.start(chosen.iterations + 1, f"learn {num_rows} rows")
        learned, _ = learn_rows(problem, num_rows, chosen, lambda value: display.advance(1, **_field(value)))
        kit = kit_of(learned, means)
        seconds = time.monotonic() - started_at
        maps = {name: each.to(train.old) for name, each in kit.maps.items()}
        candidates = [MapCandidate("kit", [maps], kit.bytes, num_rows, seconds)]
        if baselines != "none":
            other = kit_tensors({}, means, kit.ridges)
            for candidate in _baselines(problem, kit.bytes, num_rows, chosen, other, baselines == "all", display):
                candidates.append(candidate)
        rows = [_row(candidate, problem, pairs["test"]) for candidate in candidates]
    result = Migration(kit, _content(source, pairs, rows, kit.storage, kit.ridges.tolist(), whole, seed, command))
    return result if folder is None else result.save(folder, force=force)


def _baselines(
    problem: MapProblem,
    budget: int,
    num_rows: int,
    settings: MigrationSettings,
    other_tensors: dict[str, torch.Tensor],
    learned: bool,
    progress: Progress,
) -> Iterator[MapCandidate]:
    """Yield the baselines with which the report compares the kit: other maps between old and new embeddings."""
    progress.start(1, "maps of all pairs")
    fitted = AllPairs(problem)
    yield fitted.ridge()
    yield fitted.procrustes()
    yield random_pairs(problem, num_rows)
    progress.advance(1)
    storages = _storages(settings.storage)
    yield from low_rank_maps(fitted, storages, budget, other_tensors, None, lambda: None)
    if learned:
        progress.start(2 * len(storages) * settings.iterations, "learn low-rank maps")
        learning = learning_settings(settings)
        yield from low_rank_maps(fitted, storages, budget, other_tensors, learning, lambda: progress.advance(1))


def _storages(storage: Storage) -> dict[str, Storage]:
    """Return the number formats in which low-rank maps are stored: float32, 4 bits, and the given format."""
    known: dict[str, Storage] = {"float32": RowStorage(), "4 bits": RowStorage(bits=4)}
    return known if storage in known.values() else {**known, storage.title: storage}


def _row(candidate: MapCandidate, problem: MapProblem, test: Pairs) -> MigrationRow:
    """Score maps between the embedding spaces on the test pairs, and return their row of the report.

    If the maps were computed from several random samples of training pairs, recall is averaged over the samples.
    """
    count = len(candidate.draws)
    recall: dict[str, TaskRecall] = {}
    for direction in candidate.draws[0]:
        scored = [recalls_of(maps[direction], oriented(test, direction), problem.seed) for maps in candidate.draws]
        recall[direction] = {
            task: {f"R@{k}": sum(each[task][k] for each in scored) / count for k in values}
            for task, values in scored[0].items()
        }
    validation = sum(problem.score(maps) for maps in candidate.draws) / count
    return MigrationRow(
        name=candidate.name,
        bytes=candidate.bytes,
        size=candidate.size,
        seconds=candidate.seconds,
        recall=recall,
        validation=validation,
    )


def _content(
    source: PairedInput,
    pairs: dict[str, Pairs],
    rows: list[MigrationRow],
    storage: Storage,
    ridges: list[float],
    whole: int,
    seed: int,
    command: str,
) -> MigrationContent:
    first = next(iter(rows[0].recall["forward"].values()))
    return MigrationContent(
        old=source.old.name,
        new=source.new.name,
        widths=source.widths,
        pairs={split: len(each) for split, each in pairs.items()},
        split_by=source.by,
        storage=storage.title,
        ridges={"forward": ridges[0], "reverse": ridges[1]},
        training_bytes=whole,
        seed=seed,
        levels=list(first),
        rows=rows,
        command=command,
        versions=versions(),
    )


def _field(value: float | None) -> dict[str, float]:
    return {} if value is None else {"validation": value}
