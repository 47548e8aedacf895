"""Compute a crossed table: distil the sets, train every model on every set with every recipe, and score the models.

FOLDER/heads/, FOLDER/experts/     pre-trained heads and experts; shared with other comparisons in the folder
FOLDER/crossed/results/            one file per result
FOLDER/crossed/sets/               distilled sets
FOLDER/crossed/starts/             heads pre-trained with other seeds and widths
FOLDER/crossed.json, .md, .html    the table
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch

from omnidistill.core.arguments import argument
from omnidistill.core.device import resolve_device
from omnidistill.core.errors import InputError
from omnidistill.data.datasets import Data, opened
from omnidistill.evaluation.scores import Scoring
from omnidistill.experiments.comparison.compare import open_folder, require_settings
from omnidistill.experiments.comparison.process_cells import error_line
from omnidistill.experiments.comparison.remaining_time import LabelledProgress, RemainingTime
from omnidistill.experiments.comparison.result_store import FolderStore, MemoryStore
from omnidistill.experiments.config import SettingValues, load_config
from omnidistill.experiments.config.budgets import resolve_size
from omnidistill.experiments.crossed.crossed_plan import Work, plan
from omnidistill.experiments.crossed.crossed_result import CrossedTable
from omnidistill.experiments.crossed.crossed_settings import NAME, CrossedSettings, load_crossed
from omnidistill.experiments.crossed.crossed_summary import summarise
from omnidistill.experiments.crossed.results import Results, WorkResult
from omnidistill.experiments.crossed.works import Worker
from omnidistill.experiments.run import given_heads, heads_fingerprint, load_or_create_heads
from omnidistill.experiments.run.start_heads import GivenHeads
from omnidistill.io.artifacts import exclusive
from omnidistill.io.tracking import Progress, shown
from omnidistill.io.tracking.progress_file import followable


def crossed(
    data: Data,
    *,
    sets: Sequence[str] | None = None,
    recipes: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    parts: Sequence[str] | None = None,
    settings: SettingValues = (),
    config: CrossedSettings | Path | None = None,
    seed: int | None = None,
    heads: GivenHeads | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    device: str | torch.device = "auto",
    progress: Progress | bool = True,
    command: str = "",
) -> CrossedTable:
    """Train every model on every set with every recipe, and for comparison on random rows and on all rows.

    If distilling a set or training a model fails, the error is listed in `failures` of the result, and the computation
    continues. A later call with the same `folder` and `resume=True` retries what failed.

    Args:
        data: a FeatureSet, the name of a registered dataset, or the Path of a packed dataset.
        sets: sets to distil, by their name or preset in `config`; None selects all. Random rows of the same size are
            added.
        recipes: any of the training recipes "own" (stored in the set), "sgd", "anchor", "stacked" and "map"; None
            selects all.
        models: "linear" or "mlp" for all models of this kind, or single models such as "own" (the pre-trained heads),
            "seed-1", "width-64", "random" and "mlp-3"; None selects all.
        parts: any of "table" (all combinations), "robustness" (changes to the recipe of each set) and "mismatch"
            (training data with mismatched pairs); None selects all.
        settings: settings to change, such as "max_steps=64". A setting of "distill" or "experts" applies to every set
            that has it.
        config: complete settings, or the Path of a TOML file; None uses the preset "crossed".
        seed: seed for all random numbers.
        heads: pre-trained heads for which the sets are distilled; None pre-trains them on the split `heads`.
        folder: folder of the results; None keeps everything in memory.
        resume: whether to continue in a folder that already contains a comparison.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        progress: whether to show progress, or the object that shows it.
        command: command line, recorded in the table.

    Returns:
        The table, which is also saved in `folder`.

    Raises:
        InputError: a set, recipe, model or setting is unknown; the folder belongs to different data or heads; or the
            folder is not empty and `resume` is False.
        KeyboardInterrupt: the user interrupted the computation; finished results stay in the folder.
    """
    chosen = load_crossed(config, sets=sets, recipes=recipes, models=models, parts=parts, settings=settings, seed=seed)
    display, root = shown(progress), None if folder is None else Path(folder)
    features = opened(data)
    features.development()
    Scoring.of(features.split("test"), chosen.evaluate)  # raises an error about splits before any work is done
    configs = {entry.name: resolve_size(chosen.config(entry), features) for entry in chosen.sets}
    separate = next((name for name, each in configs.items() if not each.joint), None)
    if separate is not None:
        raise InputError(
            f"method '{separate}' distils one synthetic set per pair of modalities, but a crossed table needs one set "
            "for all modalities; remove this method, or choose another preset for it"
        )
    works, cells = plan(chosen, configs)
    if not cells:
        raise InputError(
            f"{argument('recipes')}: none of these training recipes applies to the chosen models; 'map' is for "
            "networks, 'anchor' for linear heads, and 'stacked' for pre-trained heads"
        )
    given = given_heads(heads, features.widths)
    base = load_config(preset="hopa", seed=chosen.seed).evolve(heads=chosen.heads)
    with nullcontext() if root is None else exclusive(root), followable(display, root) as display:
        if root is not None:
            open_folder(root, features, resume)
        on_device = features.to(resolve_device(device))
        heads_folder = root and root / "heads"
        own = load_or_create_heads(on_device, base, heads_folder, given, display)
        if given is None:
            require_settings(own, base, heads_folder)
        if own.width != chosen.heads.width:
            chosen = chosen.evolve(heads=chosen.heads.evolve(width=own.width))
            works, cells = plan(chosen, {name: each.evolve(heads=chosen.heads) for name, each in configs.items()})
        results = Results(root and root / NAME, chosen, configs, heads_fingerprint(own))
        experts = MemoryStore() if root is None else FolderStore(root)
        worker = Worker(on_device, chosen, configs, own, results, experts, command)
        failures = _run(worker, works, display)
        done = {work: result for work in works if (result := results.get(work)) is not None}
        content = summarise(chosen, cells, done, failures, features, results.heads, NAME, command)
    table = CrossedTable(content, {work.title: error for work, error in failures.items()})
    return table if root is None else table.save(root)


def _run(worker: Worker, works: Sequence[Work], progress: Progress) -> dict[Work, str]:
    """Compute and save all missing results. Return {work item: error message} for those that failed."""
    missing = [work for work in works if worker.results.get(work) is None]
    remaining, failures = RemainingTime([work.kind for work in missing]), dict[Work, str]()
    for work in missing:
        number = f"{works.index(work) + 1}/{len(works)}"
        label = " ".join(filter(None, (number, remaining.estimate(), work.title)))
        started_at = time.monotonic()
        result = _attempt(worker, work, LabelledProgress(progress, label))
        if isinstance(result, WorkResult):
            worker.results.save(work, result)
        else:
            failures[work] = result
        remaining.record(work.kind, time.monotonic() - started_at)
    return failures


def _attempt(worker: Worker, work: Work, progress: LabelledProgress) -> WorkResult | str:
    """Compute one result. If this fails, return the error message as one line instead."""
    started_at = time.monotonic()
    try:
        with progress:
            if work.recipe != "set":
                progress.start(1, "train")
            result = worker.measure(work, progress)
            if work.recipe != "set":  # initial heads may have been a stage of their own in between
                progress.start(1, "train", done=1, seconds=time.monotonic() - started_at)
            return result
    except Exception as error:
        return error_line(error)
