"""Evaluation: score the sets of a run and the baselines on the test split, once.

An evaluation is like a comparison with a single method, size and seed. `experiments.table_baselines` determines the
baselines, and how many rows and bytes each baseline may use.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from omnidistill.core.arguments import argument
from omnidistill.core.device import moved, resolve_device
from omnidistill.core.errors import InputError
from omnidistill.data.datasets import Data, open_reference, opened
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.fingerprint import fingerprint
from omnidistill.distillation.budget import parse_budget
from omnidistill.distillation.shipped_bytes import initial_heads_bytes
from omnidistill.evaluation.baselines import Baseline
from omnidistill.evaluation.distilled_row import train_on_sets, train_without_start
from omnidistill.evaluation.membership import Membership, measure_membership
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.scores import Scoring, score_rows
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import run_of
from omnidistill.experiments.evaluation_result import Evaluation
from omnidistill.experiments.run import DistillResult, Run, given_heads, open_run, versions
from omnidistill.experiments.run.start_heads import GivenHeads
from omnidistill.experiments.run_page import unscored
from omnidistill.experiments.table_baselines import (
    Group,
    check_result,
    dependencies_first,
    named_baselines,
    setting_of,
    table_baselines,
    table_key,
)
from omnidistill.io.artifacts import exclusive
from omnidistill.io.tracking import Progress, shown
from omnidistill.models.heads import Heads
from omnidistill.report.cases import find_cases

_ORDER = (
    *("zero_shot", "random", "low_rank", "equal_bytes", "equal_bytes_4_bit", "cca", "cca_infonce", "cca_stacked"),
    *("distilled", "distilled_alone", "full_own", "full", "best"),
)


def evaluate(
    result: DistillResult | Run | Path,
    data: Data | None = None,
    *,
    num_seeds: int | None = None,
    heads: GivenHeads | None = None,
    baselines: Sequence[str | Baseline] | None = None,
    metrics: Sequence[str] | None = None,
    membership: bool = False,
    shared: Mapping[str, TrainedHeads] | None = None,
    device: str | torch.device = "auto",
    progress: Progress | bool = True,
    command: str = "",
) -> Evaluation:
    """Train students on a set, fit the baselines on the development splits, and score all of them on the test split.

    If the run has a folder, scores.json, scores.csv, cases.json and report.html are written to it.

    Args:
        result: what `distill` returned, a run, or the Path of its folder.
        data: the data of the run; None loads them from the recorded location.
        num_seeds: number of students per row of the score table; None uses the number from the settings.
        heads: initial heads, instead of those with which the set was distilled. The output is then written to
            RUN/from-NAME, where NAME is the file or folder name of the heads, or "given" for heads in memory.
        baselines: baselines by name or as objects (default: `evaluation.baselines.DEFAULT`); `zero-shot` and `full`
            are always included.
        metrics: metrics of the score table, such as ("R@1", "R@50", "MRR"); None uses those from the settings.
        membership: whether to run membership attacks, which try to tell training rows from test rows
            (`evaluation.membership`).
        shared: `Evaluation.rows` of another run on the same data and initial heads. Baselines in it are not trained
            again.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        progress: whether to show progress, or the object that shows it.
        command: command line, recorded in the scores.

    Raises:
        InputError: the run is not finished or is in use by another process, the data are not those of the run,
            `num_seeds` is less than 2, or the device is not available.
    """
    if num_seeds is not None and num_seeds < 2:
        raise InputError(
            f"{argument('num_seeds', num_seeds)}: confidence intervals need at least 2 seeds (default: 10)"
        )
    result, features = open_result(result, data)
    with nullcontext() if result.folder is None else exclusive(result.folder):
        own = given_heads(heads, features.widths)
        features = features.to(resolve_device(device))
        start = moved(result.start if own is None else own, features.device)
        given = {"num_seeds": num_seeds, "metrics": None if metrics is None else tuple(metrics)}
        config = result.config.evaluate.evolve(**{name: value for name, value in given.items() if value is not None})
        test, facts = features.split("test"), unscored(result, features)  # raises errors before the work starts
        scoring = Scoring.of(test, config)
        started_at = time.monotonic()
        requested = table_baselines(named_baselines(baselines), [result.config], config)
        rows = train_rows(result, features, start, config, requested, dict(shared or {}), shown(progress))
        needs_start = {table_key(baseline): baseline.needs_start for baseline in requested}
        needs_start["distilled"] = any(distilled.recipe.uses_start for distilled in result.sets)
        needs_start["distilled_alone"] = False
        of_rows = score_rows(rows, test, config)
        revealed = _membership(result, rows, features) if membership else None
        scores = facts.evolve(
            num_seeds=config.num_seeds,
            command=command,
            versions=versions(),
            gallery=config.gallery,
            items=scoring.sizes,
            undefined=scoring.undefined,
            bytes=facts.bytes.evolve(initial_heads=initial_heads_bytes(start)),
            rows={name: row.evolve(needs_start=needs_start.get(name, True)) for name, row in of_rows.items()},
            seconds={**facts.seconds, "evaluate": time.monotonic() - started_at},
            membership=revealed,
        )
        skipped = tuple(baseline.name for baseline in requested if table_key(baseline) not in rows)
        cases = find_cases(rows, test, config.gallery)
        evaluation = Evaluation(scores, rows, cases, result, features, skipped=skipped)
        if result.folder is None:
            return evaluation
        name = heads.resolve().stem if isinstance(heads, Path) else "given"
        return evaluation.save(result.folder if own is None else result.folder / f"from-{name}")


def _membership(result: DistillResult, rows: Mapping[str, TrainedHeads], data: FeatureSet) -> Membership:
    """Measure how well attacks distinguish the training rows of a set from test rows.

    The loss attack uses heads that were trained on the set: those in the table row "distilled_alone" (trained without
    initial heads) or, if there is no such row, those in "distilled". For reference, the attack is repeated with the
    heads in "full" and "zero_shot". From each row, only the heads of the first student are used.
    """
    attacked = {
        "loss": rows.get("distilled_alone", rows["distilled"]),
        "loss_full": rows["full"],
        "loss_initial": rows["zero_shot"],
    }
    heads = {name: [run_of(part, 0) for part in trained.parts] for name, trained in attacked.items()}
    return measure_membership(result.sets, heads, data.split("train"), data.split("test"), result.config.seed)


def open_result(result: DistillResult | Run | Path, data: Data | None) -> tuple[DistillResult, FeatureSet]:
    """Return the result (loaded, if a run or a folder is given) and its data, after checking that they match.

    Raises:
        InputError: the run is not finished, or the data are missing or not those of the run.
    """
    features = None if data is None else opened(data)
    if isinstance(result, Path):
        result = open_run(result)
    if isinstance(result, Run):
        result.sets()  # raises an error first if the run is not finished
        features = result.data(features)
        return result.result(features), features
    if not isinstance(result, DistillResult):
        raise InputError(
            f"result: found a {type(result).__name__}; pass the result of distill(), a Run, or the pathlib.Path of "
            "its folder"
        )
    if features is None:
        if result.location is None:
            raise InputError("data: the data of this result were not stored on disk; pass them to evaluate()")
        features = open_reference(result.location)
    missing = [name for name in result.modalities if name not in features.features]
    if not missing:
        features = features.only(result.modalities)
    if missing or fingerprint(features) != result.fingerprint:
        raise InputError(
            "data: these are not the data of this result (modalities or rows differ); pass the data from which the set "
            "was distilled"
        )
    return result, features


def train_rows(
    result: DistillResult,
    data: FeatureSet,
    start: Heads,
    config: EvaluateConfig,
    requested: Sequence[Baseline],
    trained: dict[str, TrainedHeads],
    progress: Progress,
) -> dict[str, TrainedHeads]:
    """Return the trained heads of the distilled set and of the requested baselines, in the order of the score table.

    Baselines whose heads `trained` already contains are not trained again.
    """
    budget = None if result.budget is None else parse_budget(result.budget, result.training_bytes)
    development, seed, settings, size = data.development(), result.config.seed, result.config, result.sets[0].size
    if size > settings.distill.num_stored:  # an earlier set was merged into the set, so baselines get as many rows
        most = min(size, data.split_sizes["train"])
        settings, budget = settings.evolve(distill=settings.distill.evolve(size=most)), None
    group = Group((settings,), budget)
    names = []
    with progress:
        progress.start(len(requested) + 1, "evaluate")
        for baseline in dependencies_first(requested):
            key = table_key(baseline)
            setting = setting_of(baseline, data, development, start, config, seed, group)
            if setting is not None and key not in trained:
                fitted = {name: trained[name.replace("-", "_")] for name in baseline.needs}
                trained[key] = check_result(baseline, baseline.fit(replace(setting, fitted=fitted)), start)
            if setting is not None:
                names.append(key)
            progress.advance(1, row=baseline.name)
        students = train_on_sets(result.sets, start, config, seed)
        seconds = students.seconds + sum(result.seconds.get(stage, 0.0) for stage in ("experts", "distill"))
        label = f"{result.config.method}, {result.sets[0].size} rows"
        trained["distilled"] = replace(students, label=label, seconds=seconds)
        names.append("distilled")
        if (alone := train_without_start(result.sets, start, config, seed)) is not None:
            label = f"{label}, without initial heads"
            trained["distilled_alone"] = replace(alone, label=label, seconds=seconds)
            names.append("distilled_alone")
        progress.advance(1, row="distilled")
    order = [*_ORDER[: _ORDER.index("distilled")], *(name for name in names if name not in _ORDER)]
    order += [*_ORDER[_ORDER.index("distilled") :]]
    return {name: trained[name] for name in order if name in names}
