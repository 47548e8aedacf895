"""Evaluating a run: its sets next to the baselines, scored on the test split once, and the page.

An evaluation is a comparison with one entry: the baselines and what each may use are those of
`experiments.table_baselines`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.distill import DistilledSet
from omnidistill.distill.budget import parse_budget, training_bytes
from omnidistill.evaluation.baselines import Baseline, default_baselines
from omnidistill.evaluation.distilled_row import train_on_sets
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.run_scores import RunScores
from omnidistill.evaluation.scores import score_rows
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.experiments.run import Run, fingerprint, open_data
from omnidistill.experiments.run_page import CASES, SCORES, run_view, unscored
from omnidistill.experiments.table_baselines import (
    Group,
    check_result,
    in_order,
    setting_of,
    table_baselines,
    table_key,
)
from omnidistill.io.artifacts import write_atomic
from omnidistill.io.tracking import Progress, SilentProgress
from omnidistill.models.heads import Heads, load_heads
from omnidistill.report.cases import find_cases, save_cases
from omnidistill.report.page import render_page
from omnidistill.report.run_table import to_csv

_ORDER = ("zero_shot", "random", "low_rank", "equal_bytes", "equal_bytes_4_bit", "cca", "distilled", "full_own", "full")


@dataclass(frozen=True)
class Evaluation:
    """The scores of a run.

    Attributes:
        scores: the scores, as scores.json has them.
        rows: the trained heads of every row, to be shared with another run over the same data and heads.
        folder: where everything was written.
    """

    scores: RunScores
    rows: dict[str, TrainedHeads]
    folder: Path


def evaluate_run(
    run: Run,
    *,
    num_seeds: int | None = None,
    data_reference: str | None = None,
    heads: Path | None = None,
    shared: Mapping[str, TrainedHeads] | None = None,
    baselines: Sequence[Baseline] | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Evaluation:
    """Train every row on the development splits and score all of them on the test split.

    Writes scores.json, scores.csv, cases.json and report.html into the run folder.

    Args:
        run: a finished run.
        num_seeds: students per row; by default that of the run's configuration.
        data_reference: where the data are now, if they moved.
        heads: heads to train instead of those that the set was made for; everything is written to RUN/from-NAME.
        shared: rows that another run over the same data and heads has trained already.
        baselines: what the set is compared with (by default `evaluation.baselines.DEFAULT`); zero-shot and full are
            always among them.
        command: recorded in the scores.
        progress: shown while it works.

    Raises:
        InputError: unfinished run, data that are not those of the run, fewer than two seeds.
    """
    if num_seeds is not None and num_seeds < 2:
        raise InputError(f"--seeds {num_seeds}: intervals over runs need at least 2 (10 by default)")
    sets = run.sets()
    data = open_data(data_reference or run.data_reference, run.config)
    if fingerprint(data) != run.fingerprint:
        raise InputError(f"{data_reference or run.data_reference}: is not the data of this run (its rows differ)")
    start, place = run.heads(data), run.folder
    if heads is not None:
        start, place = load_heads(heads, data.widths)[0], run.folder / f"from-{heads.resolve().stem}"
        place.mkdir(exist_ok=True)
    test, facts = data.split("test"), unscored(run, data)  # anything missing or damaged is reported before the work
    config = run.config.evaluate if num_seeds is None else run.config.evaluate.evolve(num_seeds=num_seeds)
    started_at = time.monotonic()
    requested = table_baselines(default_baselines() if baselines is None else baselines, [run.config], config)
    rows = train_rows(run, sets, data, start, config, requested, dict(shared or {}), progress or SilentProgress())
    scored = score_rows(rows, test, run.config.seed)
    scores = facts.evolve(
        num_seeds=config.num_seeds,
        command=command,
        rows=scored,
        seconds={**facts.seconds, "evaluate": time.monotonic() - started_at},
    )
    write_atomic(place / SCORES, json.dumps(scores.to_json(), indent=1, allow_nan=False).encode())
    write_atomic(place / "scores.csv", to_csv(scores).encode())
    save_cases(find_cases(rows, test), place / CASES)
    write_atomic(place / "report.html", render_page([run_view(run, scores, data, place)]).encode())
    return Evaluation(scores, rows, place)


def train_rows(
    run: Run,
    sets: Sequence[DistilledSet],
    data: FeatureSet,
    start: Heads,
    config: EvaluateConfig,
    requested: Sequence[Baseline],
    trained: dict[str, TrainedHeads],
    progress: Progress,
) -> dict[str, TrainedHeads]:
    """Return the rows in table order; those that are trained already are taken as they are."""
    budget = None if run.budget is None else parse_budget(run.budget, training_bytes(data))
    group, development, seed = Group((run.config,), budget), data.development(), run.config.seed
    names = []
    with progress:
        progress.start(len(requested) + 1, "evaluate")
        for baseline in in_order(requested):
            key = table_key(baseline)
            setting = setting_of(baseline, data, development, start, config, seed, group)
            if setting is not None and key not in trained:
                fitted = {name: trained[name.replace("-", "_")] for name in baseline.needs}
                trained[key] = check_result(baseline, baseline.fit(replace(setting, fitted=fitted)), start)
            if setting is not None:
                names.append(key)
            progress.advance(1, row=baseline.name)
        students = train_on_sets(sets, start, config, seed)
        spent = run.seconds()
        seconds = students.seconds + sum(spent.get(stage, 0.0) for stage in ("experts", "distill"))
        trained["distilled"] = replace(students, label=f"{run.config.method}, {sets[0].size} rows", seconds=seconds)
        progress.advance(1, row="distilled")
    order = [*_ORDER[: _ORDER.index("distilled")], *(name for name in names if name not in _ORDER)]
    order += [*_ORDER[_ORDER.index("distilled") :]]
    return {name: trained[name] for name in order if name in names or name == "distilled"}
