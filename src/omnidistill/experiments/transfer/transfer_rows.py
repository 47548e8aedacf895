"""The rows of a transfer table, which compares ways to train heads for a new encoder.

There are three kinds of rows:

    option                 uses a set that was distilled with the old encoder; a run of `distill` provides the set
    distilled directly     distils a set with the new encoder
    baseline               uses real rows of the new encoder, or the initial heads

With several runs (such as runs with different seeds), rows of the first two kinds contain one result per run. This
module uses only the training and validation splits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omnidistill.core.json_value import Json
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.budget import training_bytes
from omnidistill.distillation.item_mixture import Missing
from omnidistill.distillation.shipped_bytes import real_rows_bytes
from omnidistill.evaluation.baselines import Setting, baselines
from omnidistill.evaluation.baselines.baseline import Allowance
from omnidistill.evaluation.baselines.real_rows_anchor import GroupMeansAnchor
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.experiments.run import InitialHeads, distill
from omnidistill.experiments.transfer.shared_items import shared_training_rows
from omnidistill.experiments.transfer.train_transferred import best_of_sets, recipe_of
from omnidistill.experiments.transfer.transfer_settings import TransferSettings
from omnidistill.experiments.transfer.transferred_sets import Option, Source, SourceRun, options_of, run_folder
from omnidistill.io.tracking import Progress, SilentProgress
from omnidistill.models.objectives import InfoNCE
from omnidistill.models.similarities import FixedIdentity
from omnidistill.training.experts.epochs import stack_runs

INITIAL, RANDOM, MEANS, DIRECT = "initial heads", "random rows", "group means", "distilled directly"


@dataclass(frozen=True, eq=False)
class TableRow:
    """A row of the transfer table: trained heads for a new encoder, and what a user needs to train them.

    Attributes:
        name: name of the row.
        units: trained heads. A row that uses sets has one element per distillation run. Most baselines have a single
            element, which contains the heads of all training repetitions.
        bytes: size of the files that a user of the new encoder needs, without the items to encode. None for the row
            that uses the initial heads unchanged.
        needs: which items must be encoded by the new encoder, such as "500 items".
        seconds: mean time for one distillation run or training repetition.
        settings: for every element of `units`, the settings that were chosen on validation.
    """

    name: str
    units: Sequence[TrainedHeads]
    bytes: int | None
    needs: str
    seconds: float
    settings: Sequence[Mapping[str, Json]]


@dataclass
class Target:
    """Computes the rows of the transfer table for one new encoder.

    Attributes:
        runs: the runs whose sets are used with the new encoder. Baselines use the settings of the first run.
        data: features of the new encoder, with only the modalities of the runs.
        start: initial heads of the new encoder.
        settings: what to compare.
        missing: what to do about training items that `data` lack: "error" or "drop".
        rendered: folder with the new encoder's features of media that were rendered from the sets; None if there are
            none.
        folder: folder for the sets that are distilled from features of the new encoder; None keeps them in memory.
        progress: advances by one after every row.
    """

    runs: Sequence[SourceRun]
    data: FeatureSet
    start: InitialHeads
    settings: TransferSettings
    missing: Missing
    rendered: Path | None
    folder: Path | None
    progress: Progress

    def rows(self) -> Iterator[TableRow]:
        """Compute and yield all rows in the order of the table."""
        size, items = self.runs[0].result.set.size, f"all {len(self._train):,} items"
        yield self._baseline("zero-shot", INITIAL, "none")
        if self._kind == "anchor":
            yield self._baseline("random-anchor", RANDOM, f"{size:,} items")
            yield self._baseline("group-means-anchor", MEANS, f"items of {size:,} groups")
        else:
            yield self._baseline("random", RANDOM, f"{size:,} items")
            yield self._group_means()
        yield from self._options()
        yield self._direct(items)
        if "cca" in self.settings.references:
            yield self._baseline("cca", "all rows, CCA", items)
        if "infonce" in self.settings.references:
            yield self._baseline("full", "all rows, InfoNCE", items)

    @property
    def _train(self) -> FeatureSet:
        return self.data.split("train")

    @property
    def _kind(self) -> str:
        return recipe_of(self.runs[0].result.set, self.settings)

    def _options(self) -> Iterator[TableRow]:
        """Yield one table row per option (way to use a set with the new encoder), with heads for every run."""
        units: dict[str, list[Option]] = {}
        for run in self.runs:
            old, new = shared_training_rows(run.data.split("train"), self.data, self.missing)
            source = Source(run, old, new, self.missing)
            for option in options_of(source, self.settings, self.rendered):
                units.setdefault(option.name, []).append(option)
        for name, options in units.items():
            yield self._of_options(name, options)
            if options[0].items:
                yield self._cca_on_items(f"CCA on the items of the {name.removesuffix(', learned')}", options)

    def _of_options(self, name: str, options: Sequence[Option]) -> TableRow:
        """Train heads on each element of `options`, and return them as one row of the table.

        An element can have several candidate sets. The heads with the best validation score are kept.

        Args:
            name: name of the row.
            options: the same option for every run. For the baseline "group means": one element per training repetition.
        """
        validation, units, settings = self.data.split("validation"), [], []
        started_at = time.monotonic()
        for option in options:
            best = best_of_sets(option.sets, self.start, validation, self._kind, self.settings)
            units.append(TrainedHeads(name, (stack_runs(best.heads, 1),), option.bytes, 0.0, best.settings))
            settings.append(best.settings)
        seconds = sum(option.seconds for option in options) + time.monotonic() - started_at
        self.progress.advance(1, row=name)
        return TableRow(name, units, options[0].bytes, options[0].needs, seconds / len(units), settings)

    def _direct(self, items: str) -> TableRow:
        """Return the table row "distilled directly", with heads trained on sets that are distilled for the new encoder.

        For each run, one set is distilled from features of the new encoder, with the settings of the run.
        """
        options = []
        for run in self.runs:
            result = distill(
                self.data,
                config=run.result.config,
                heads=dict(self.start),
                folder=run_folder(self.folder, "direct", run.result),
                resume=self.folder is not None,
                device=self.data.device,
                progress=SilentProgress(),
            )
            seconds = sum(result.seconds.get(stage, 0.0) for stage in ("experts", "distill"))
            options.append(Option(DIRECT, {"": result.set}, result.set.bytes, items, seconds))
        return self._of_options(DIRECT, options)

    def _baseline(self, kind: str, name: str, needs: str) -> TableRow:
        distilled = self.runs[0].result.set
        allowance = Allowance(distilled.size, distilled.bytes)
        seed, evaluate = self.runs[0].result.config.seed, self.settings.evaluate
        setting = Setting(self.data.development(), dict(self.start), evaluate, seed, allowance)
        fitted = baselines.build(kind).fit(setting)
        num_bytes = None if name == INITIAL else fitted.bytes
        if name.startswith("all rows"):
            num_bytes = training_bytes(self.data)
        self.progress.advance(1, row=name)
        return TableRow(name, [fitted], num_bytes, needs, fitted.seconds / fitted.num_runs, [dict(fitted.settings)])

    def _cca_on_items(self, name: str, options: Sequence[Option]) -> TableRow:
        """Return a row with CCA heads. For each run, they are fitted only to the items that its mixtures use."""
        development, evaluate, units = self.data.development(), self.settings.evaluate, []
        location = {each: row for row, each in enumerate(development.train.ids)}
        for run, option in zip(self.runs, options, strict=True):
            train = development.train.select([location[each] for each in option.items])
            setting = Setting(replace(development, train=train), dict(self.start), evaluate, run.result.config.seed)
            units.append(baselines.build("cca").fit(setting))
        self.progress.advance(1, row=name)
        seconds = sum(unit.seconds for unit in units) / len(units)
        return TableRow(name, units, units[0].bytes, options[0].needs, seconds, [dict(each.settings) for each in units])

    def _group_means(self) -> TableRow:
        """Return the table row "group means": heads trained with InfoNCE on means of random groups of items."""
        first, train = self.runs[0].result, self._train
        identity = replace(
            first.set,
            spec=replace(first.set.spec, similarity=FixedIdentity(), objective=InfoNCE(tau=self.settings.evaluate.tau)),
            tensors={name: x for name, x in first.set.tensors.items() if name.startswith("rows/")},
        )
        options, streams = [], Streams(first.config.seed)
        for number in range(self.settings.evaluate.num_seeds):
            rows = GroupMeansAnchor().rows(train, first.set.size, streams[f"transfer/group means/{number}"])
            num_bytes = real_rows_bytes(first.set.size, train.widths, train.preprocessing)
            means = identity.with_rows(rows, train)
            options.append(Option(MEANS, {"": means}, num_bytes, f"items of {first.set.size:,} groups", 0.0))
        return self._of_options(MEANS, options)
