"""Compare ways to use a distilled set with other encoders than the one it was distilled with.

FOLDER/sets/                      sets that are distilled for the comparison
FOLDER/transfer.json, .md, .html  the table

Each way gives heads for the other encoder, which are scored on test rows. Only this module reads the test split. It
scores every row of the table once, after all settings are chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from omnidistill.core.arguments import argument
from omnidistill.core.device import resolve_device
from omnidistill.core.errors import InputError
from omnidistill.core.threads import threads_for
from omnidistill.data.datasets import Data, opened
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.item_mixture import Missing, named
from omnidistill.evaluation.hits import Hits
from omnidistill.evaluation.intervals import Coverage
from omnidistill.evaluation.run_scores import MEAN
from omnidistill.evaluation.scores import Scoring, rank_runs
from omnidistill.experiments.evaluate_run import open_result
from omnidistill.experiments.run import DistillResult, Run, load_or_create_heads, versions
from omnidistill.experiments.transfer.rendered_features import rendered_features
from omnidistill.experiments.transfer.shared_items import require_modalities, shared_training_rows
from omnidistill.experiments.transfer.train_transferred import recipe_of
from omnidistill.experiments.transfer.transfer_result import Transfer, require_output
from omnidistill.experiments.transfer.transfer_rows import DIRECT, RANDOM, TableRow, Target
from omnidistill.experiments.transfer.transfer_settings import TransferSettings, load_transfer
from omnidistill.experiments.transfer.transferred_sets import SourceRun
from omnidistill.io.tracking import Progress, shown
from omnidistill.report.transfer_content import TransferContent, TransferRow, TransferTarget

AnyRun = DistillResult | Run | Path


def transfer(
    runs: AnyRun | Sequence[AnyRun],
    to: Data | Sequence[Data],
    *,
    data: Data | None = None,
    settings: TransferSettings | str | None = None,
    rendered: Path | None = None,
    missing: Missing = "error",
    folder: str | Path | None = None,
    force: bool = False,
    device: str | torch.device = "auto",
    progress: Progress | bool = True,
    command: str = "",
) -> Transfer:
    """Compare ways to use a set with other encoders than the one it was distilled with.

    The new data contain the same items as the data of the run, with the same ids, splits and groups, but features of
    another encoder. Heads are trained by the same recipe on every set and, for comparison, on random rows and group
    means. The settings of the recipe are chosen on validation rows of the new encoder. All heads are scored once on its
    test rows.

    Args:
        runs: a result of `distill`, a run, or the Path of its folder. With several runs, the confidence intervals also
            cover the variation between sets.
        to: data of the new encoder, or of several encoders: a FeatureSet, the Path of a packed dataset, or a name.
        data: data of the runs; None loads them from the recorded location.
        settings: what to compare, with candidate values; or the name of a preset, such as "paper-table-4".
        rendered: folder with the new encoder's features of media that were rendered from the set: a dataset that
            `encode` wrote, or one file MODALITY.npy per modality. It contains one row per row of the set. Possible only
            with a single run and a single new encoder.
        missing: what to do if the new data lack training items of the run: "error", or "drop" to continue without them.
        folder: folder of the table, and of the sets that are distilled for it. The next call reuses these sets. None
            keeps everything in memory.
        force: whether to replace an existing table.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        progress: whether to show progress, or the object that shows it.
        command: command line, recorded in the table.

    Returns:
        The table, which is also saved in `folder` as transfer.json, .md and .html.

    Raises:
        InputError: a run is not finished or has one set per pair of modalities; the new data lack a modality or items,
            or belong to another dataset; rendered features do not fit; or the folder contains a table and `force` is
            False.
    """
    chosen = load_transfer(settings) if isinstance(settings, str) else settings or TransferSettings()
    display = shown(progress)
    sources = [*runs] if isinstance(runs, Sequence) else [runs]
    targets = [*to] if isinstance(to, Sequence) and not isinstance(to, str) else [to]
    if not sources or not targets:
        raise InputError(
            f"runs and {argument('to')}: neither list may be empty; pass at least one run, and the data of at least "
            "one new encoder"
        )
    if folder is not None:
        require_output(Path(folder), force)
    if rendered is not None and (len(sources) > 1 or len(targets) > 1):
        raise InputError(
            f"{argument('rendered', rendered)}: rendered media can be used with only one set and one new encoder; "
            "pass one run, and the data of one new encoder"
        )
    place = resolve_device(device)
    loaded_runs = [open_result(each, data) for each in sources]
    sets = None if folder is None else Path(folder) / "sets"
    opened_runs = [SourceRun(result, features.to(place), sets) for result, features in loaded_runs]
    first, old = opened_runs[0].result, opened_runs[0].data
    for result in (run.result for run in opened_runs):
        if (result.set.modalities, result.fingerprint) != (first.set.modalities, first.fingerprint):
            raise InputError("runs: were distilled from different data; pass runs that differ only in their seed")
    loaded = [require_modalities(opened(each), first.modalities).to(place) for each in targets]
    for features in loaded:  # errors come before any work
        shared_training_rows(old.split("train"), features, missing)
        features.development()
        Scoring.of(features.split("test"), chosen.evaluate)
        if rendered is not None:
            rendered_features(rendered, first.set.size, features)
    names = _distinct([named(features) for features in loaded])
    tables = []
    for name, features in zip(names, loaded, strict=True):
        with display, threads_for(first.set.size, features.widths, first.set.size):
            display.start(12, f"transfer to {name}")
            start = load_or_create_heads(features, first.config)
            target = Target(opened_runs, features, start, chosen, missing, rendered, sets and sets / name, display)
            tables.append(_scored(name, list(target.rows()), features, chosen))
    content = TransferContent(
        command=command,
        versions=versions(),
        data=named(old),
        method=first.config.method,
        size=first.set.size,
        seeds=[run.result.config.seed for run in opened_runs],
        recipe=recipe_of(first.set, chosen),
        targets=tables,
    )
    table = Transfer(content, {})
    return table if folder is None else table.save(folder)


def _scored(name: str, rows: Sequence[TableRow], data: FeatureSet, settings: TransferSettings) -> TransferTarget:
    """Score the trained heads of every table row on the test split."""
    test = data.split("test")
    scoring = Scoring.of(test, settings.evaluate)
    rankings = {
        row.name: [run for unit in row.units for run in rank_runs(unit, test, settings.evaluate.gallery)]
        for row in rows
    }
    hits = {each: scoring.hits(runs) for each, runs in rankings.items()}
    nothing: Hits = [torch.zeros_like(each[:1]) for each in hits[RANDOM]]
    scored = [
        TransferRow(
            name=row.name,
            recall=scoring.difference(hits[row.name], nothing),
            directions={
                direction: {level: spread.mean for level, spread in levels.items()}
                for direction, levels in scoring.recall(rankings[row.name]).items()
                if direction != MEAN
            },
            improvement=None if row.name == RANDOM else scoring.difference(hits[row.name], hits[RANDOM]),
            share=None if row.name == RANDOM else scoring.gain(hits[RANDOM], hits[DIRECT], hits[row.name]),
            coverage=Coverage.of_runs(len(rankings[row.name])),
            bytes=row.bytes,
            needs=row.needs,
            seconds=row.seconds,
            settings=list(row.settings),
        )
        for row in rows
    ]
    return TransferTarget(
        name=name,
        widths=data.widths,
        split_rows=data.split_sizes,
        levels=list(scoring.levels),
        facts=scoring.facts(settings.evaluate.gallery),
        rows=scored,
    )


def _distinct(names: Sequence[str]) -> list[str]:
    """Return the last part of each path-like name. If these are not all different, append numbers."""
    short = [Path(name).name for name in names]
    return short if len(set(short)) == len(short) else [f"{name} ({i})" for i, name in enumerate(short, start=1)]
