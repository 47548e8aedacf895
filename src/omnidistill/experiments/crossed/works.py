"""Compute one work item of a crossed table: distil a set, or train a model and score it once on the test split.

Sets and initial models that several work items share are computed once. Training and all choices use only the
development splits. Only `Worker.measure` reads the test split.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from omnidistill.core.errors import InputError
from omnidistill.core.json_value import Json
from omnidistill.core.streams import Streams
from omnidistill.core.threads import threads_for
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet
from omnidistill.distillation.budget import parse_budget, training_bytes
from omnidistill.evaluation.baselines import baselines
from omnidistill.evaluation.validation import run_of
from omnidistill.experiments.comparison.result_store import FolderStore, MemoryStore
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.crossed import train_on_all_rows, train_on_set
from omnidistill.experiments.crossed.crossed_models import (
    Model,
    Outputs,
    network,
    outputs_of_heads,
    outputs_of_modules,
    recall_of,
)
from omnidistill.experiments.crossed.crossed_plan import ALL_ROWS, INITIAL, Work
from omnidistill.experiments.crossed.crossed_settings import CrossedSettings, TeacherEntry
from omnidistill.experiments.crossed.mismatch import mismatched
from omnidistill.experiments.crossed.results import Results, WorkResult
from omnidistill.experiments.crossed.train_on_set import Networks, is_networks, start_heads
from omnidistill.experiments.run import DistillResult, InitialHeads, distill, load_or_create_heads
from omnidistill.experiments.table_baselines import Group, setting_of
from omnidistill.io.tracking import Progress
from omnidistill.models.heads import Heads, random_heads
from omnidistill.training.recipes.anchor_regression import cut


@dataclass
class Worker:
    """Computes work items of a crossed table. A work item distils a set, or trains a model and scores it.

    Sets and initial models that several work items need are stored.

    Attributes:
        data: the data. Everything is computed on the device of the data.
        settings: settings of the table.
        configs: {name of a set: settings of the run that distils it}.
        own: pre-trained heads, on the same device. They are the initial heads when sets are distilled.
        results: store of the results. Sets and initial models are stored in its folder.
        experts: store of the experts that several sets share.
        command: command line, recorded with the sets.
    """

    data: FeatureSet
    settings: CrossedSettings
    configs: Mapping[str, RunConfig]
    own: InitialHeads
    results: Results
    experts: FolderStore | MemoryStore
    command: str = ""
    _sets: dict[Work, DistillResult] = field(default_factory=dict)
    _starts: dict[Model, Heads | Networks] = field(default_factory=dict)
    _data: dict[float, FeatureSet] = field(default_factory=dict)

    def measure(self, work: Work, progress: Progress) -> WorkResult:
        """Distil a set, or train and score a model, as the work item requires. Return the result.

        For a distilled set, the result contains no recall.
        """
        started_at = time.monotonic()
        if work.recipe == "set":
            result = self.distilled(work, progress)
            facts: dict[str, Json] = {"rows": result.set.size, "bytes": result.set.bytes}
            return WorkResult(seconds=time.monotonic() - started_at, settings=facts)
        runs, chosen = self._train(work, progress)
        seconds = time.monotonic() - started_at
        gallery, test = self.settings.evaluate.gallery, self.data.split("test")
        recalls = [recall_of(run, test, gallery) for run in runs]
        mean = {level: sum(each[level] for each in recalls) / len(recalls) for level in recalls[0]}
        return WorkResult(recall=mean, seconds=seconds, settings=chosen)

    def distilled(self, work: Work, progress: Progress) -> DistillResult:
        """Return the set of a work item: the set to distil, or the set on which a model is trained.

        The first call distils the set, or loads it if it is stored. Later calls return the same object.
        """
        work = work.set_work
        if work not in self._sets:
            place = self._place("sets", self.results.name(work))
            self._sets[work] = distill(
                self.features(work.share),
                config=self.configs[work.source],
                folder=place,
                heads=self.own,
                expert_source=self.experts.experts,
                resume=place is not None,
                device=self.data.device,
                progress=progress,
                command=self.command,
            )
        return self._sets[work]

    def features(self, share: float) -> FeatureSet:
        """Return the data, with mismatched pairs in the given share of the training groups (see `mismatched`)."""
        if share not in self._data:
            self._data[share] = mismatched(self.data, share, self.settings.seed) if share else self.data
        return self._data[share]

    def start(self, model: Model, progress: Progress) -> Heads | Networks:
        """Return the initial heads or networks of a model, on the device of the data."""
        if model not in self._starts:
            self._starts[model] = self._new_start(model, progress)
        return self._starts[model]

    def _new_start(self, model: Model, progress: Progress) -> Heads | Networks:
        data, settings, width = self.data, self.settings, model.width(self.own.width)
        stream = Streams(settings.seed)[f"crossed/{model.name}"]
        match model.kind:
            case "own":
                return dict(self.own)
            case "any":
                return cut(dict(self.own), data.split("train").features, width)
            case "random":
                return {name: each.to(data.device) for name, each in random_heads(data.widths, width, stream).items()}
            case "mlp":
                return network(data.widths, settings.hidden, model.number, width, stream, data.device)
        seed = int(torch.randint(2**62, (1,), generator=stream, device="cpu"))
        config = next(iter(self.configs.values())).evolve(seed=seed, heads=settings.heads.evolve(width=width))
        place = self._place("starts", f"{model.name}-s{settings.seed}")
        return dict(load_or_create_heads(data, config, place, None, progress))

    def _place(self, kind: str, name: str) -> Path | None:
        return None if self.results.folder is None else self.results.folder / kind / name

    def _train(self, work: Work, progress: Progress) -> tuple[list[Outputs], dict[str, Json]]:
        start = self.start(work.model, progress)
        if work.source == INITIAL:
            if is_networks(start):
                return [outputs_of_modules(start)], {}
            return [outputs_of_heads(start_heads(start))], {}
        if work.source == ALL_ROWS:
            return self._on_all_rows(work, start)
        teacher = self.settings.teacher(work.source)
        if teacher is not None:
            assert is_networks(start)
            return self._taught(teacher, start)
        distilled = self.distilled(work, progress).set
        width = work.model.width(self.own.width)
        with torch.no_grad(), threads_for(len(distilled), self.data.widths, width):
            outputs, chosen = self._on_set(work, distilled, start, width)
        return [outputs], chosen

    def _taught(self, teacher: TeacherEntry, start: Networks) -> tuple[list[Outputs], dict[str, Json]]:
        """Fit the heads of a teacher within its size budget, and train networks by regression to these heads."""
        data, settings, baseline = self.data, self.settings, baselines.build(teacher.baseline)
        budget, own = parse_budget(teacher.size, training_bytes(data)), dict(self.own)
        group, seed = Group((), budget), settings.seed
        setting = setting_of(baseline, data, data.development(), own, settings.evaluate, seed, group)
        if setting is None:
            raise InputError(
                f"teacher '{teacher.name}': its heads need more than {budget:,} bytes; use a larger size budget"
            )
        fitted = baseline.fit(setting)
        return [train_on_set.by_teacher(run_of(fitted.heads, 0), start, settings)], dict(fitted.settings)

    def _on_all_rows(self, work: Work, start: Heads | Networks) -> tuple[list[Outputs], dict[str, Json]]:
        development = self.features(work.share).development()
        if is_networks(start):
            return train_on_all_rows.networks_on_all_rows(start, development, self.settings)
        train = train_on_all_rows.cca_on_all_rows if work.recipe == "cca" else train_on_all_rows.heads_on_all_rows
        return train(start_heads(start), development, self.settings)

    def _on_set(self, work: Work, distilled: DistilledSet, start: Heads | Networks, width: int) -> train_on_set.Trained:
        validation = self.data.development().validation
        if work.recipe == "own":
            return train_on_set.by_own_recipe(distilled, start, width, work.variant, self.settings)
        if work.recipe == "sgd":
            return train_on_set.by_sgd(distilled, start, validation, self.settings)
        if work.recipe == "map":
            assert is_networks(start)
            return train_on_set.by_map(distilled, start, width, validation, self.settings)
        if work.recipe == "stacked":
            return train_on_set.by_stacking(distilled, start_heads(start), validation, self.settings)
        return train_on_set.by_anchors(distilled, start_heads(start), width, validation, self.settings)
