"""Evaluating a run: the lines of its table, their scores on the test split, and the page. Opens the test split once."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnidistill.config import DistillConfig, EvaluateConfig, InfoNCEConfig, LearnedConfig
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.distill import DistilledSet
from omnidistill.evaluation.equal_bytes import equal_bytes_line
from omnidistill.evaluation.line import Line
from omnidistill.evaluation.lines import (
    cca_line,
    distilled_line,
    full_line,
    random_line,
    zero_shot_line,
)
from omnidistill.evaluation.low_rank import low_rank_line
from omnidistill.evaluation.scores import score_lines
from omnidistill.evaluation.validation import doubling_steps, step_choices
from omnidistill.experiments.run import Run, fingerprint, open_data
from omnidistill.experiments.run_page import CASES, SCORES, known, view
from omnidistill.io.artifacts import write_atomic
from omnidistill.io.tracking import Progress, SilentProgress
from omnidistill.models.heads import Heads, load_heads
from omnidistill.models.objectives import InfoNCE, objective_from
from omnidistill.report.cases import find_cases, save_cases
from omnidistill.report.page import render_page
from omnidistill.report.run_table import to_csv

LINES = ("zero_shot", "random", "low_rank", "equal_bytes", "cca", "distilled", "full_own", "full")


@dataclass(frozen=True)
class Evaluated:
    """Scores of a run as JSON, the trained lines (to be shared with another run over the same data and heads), and the
    folder of it all.
    """

    scores: dict[str, Any]
    lines: dict[str, Line]
    folder: Path


def evaluate_run(
    run: Run,
    *,
    num_seeds: int | None = None,
    data_reference: str | None = None,
    heads: Path | None = None,
    shared: Mapping[str, Line] | None = None,
    wanted: Sequence[str] = LINES,
    command: str = "",
    progress: Progress | None = None,
) -> Evaluated:
    """Train every line on the development splits, score all of them on the test split, write scores.json,
    scores.csv, cases.json, report.html.

    Args:
        run: a finished run.
        num_seeds: students a line; default from the run's configuration.
        data_reference: where the data are now, if they moved.
        heads: heads to train instead of those that the set was made for; everything is written to RUN/from-NAME.
        shared: lines that another run over the same data and heads has trained already.
        wanted: the lines of the table; zero_shot, distilled and full are always among them.
        command: recorded in the scores.

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
    test = data.split("test")  # a missing one is told before an hour is spent
    config = (
        run.config.evaluate if num_seeds is None else run.config.evaluate.model_copy(update={"num_seeds": num_seeds})
    )
    begun = time.monotonic()
    lines = train_lines(run, sets, data, start, config, dict(shared or {}), wanted, progress or SilentProgress())
    scored = score_lines(lines, test, run.config.seed)
    before = known(run, data)
    scores: dict[str, Any] = {
        **before,
        "num_seeds": config.num_seeds,
        "command": command,
        "units": {"recall": "fraction", "gain_retained": "fraction of (full - zero_shot)"},
        "lines": list(lines),
        **scored,
        "gain_retained": scored["distilled"]["gain_retained"],
        "seconds": {**before["seconds"], "evaluate": time.monotonic() - begun},
    }
    write_atomic(place / SCORES, json.dumps(scores, indent=1, allow_nan=False).encode())
    write_atomic(place / "scores.csv", to_csv(scores).encode())
    save_cases(find_cases(lines, test), place / CASES)
    write_atomic(place / "report.html", render_page([view(run, scores, data, place)]).encode())
    return Evaluated(scores, lines, place)


def train_lines(
    run: Run,
    sets: Sequence[DistilledSet],
    data: FeatureSet,
    start: Heads,
    config: EvaluateConfig,
    known: dict[str, Line],
    wanted: Sequence[str],
    progress: Progress,
) -> dict[str, Line]:
    """The wanted lines in table order, from these heads; known ones are taken as they are."""
    development, seed = data.development(), run.config.seed
    student, size = run.config.distill.student, sets[0].size
    makers = {
        "zero_shot": lambda: zero_shot_line(start),
        "full": lambda: full_line(InfoNCE(config.tau), "all rows, InfoNCE", start, development, config, seed),
        "full_own": lambda: full_line(
            objective_from(student, data.modalities),
            f"all rows, {_objective_name(student.kind)}",
            start,
            development,
            config,
            seed,
        ),
        "distilled": lambda: distilled_line(sets, start, config, seed),
        "random": lambda: random_line(
            objective_from(student, data.modalities),
            size,
            start,
            development,
            config,
            seed,
            batch_size=min(sets[0].recipe.batch_size, size),
            steps=_steps(run.config.distill),
        ),
        "low_rank": lambda: low_rank_line(min(len(sets[0]), _least_side(start)), start, development, config, seed),
        "equal_bytes": lambda: equal_bytes_line(
            known["full"], start, sum(each.bytes for each in sets), sets[0].config.distill.storage
        ),
        "cca": lambda: cca_line(start, development),
    }
    names = [name for name in LINES if name in wanted or name in ("zero_shot", "distilled", "full")]
    if isinstance(student, InfoNCEConfig):
        names = [name for name in names if name != "full_own"]
    with progress:
        progress.start(len(names), "evaluate")
        for name in sorted(names, key=["zero_shot", "full"].__contains__, reverse=True):  # equal_bytes needs full
            if name not in known:
                known[name] = makers[name]()
            progress.advance(1, line=name)
    return {name: known[name] for name in names}


def _steps(settings: DistillConfig) -> list[int]:
    """Numbers of steps that as many random rows may be trained for: those that the set's recipe was chosen from."""
    if isinstance(settings, LearnedConfig):
        return step_choices(settings.num_student_steps)
    return doubling_steps(settings.max_steps)


def _least_side(heads: Heads) -> int:
    return min(min(matrix.shape) for matrix in heads.values())


def _objective_name(kind: str) -> str:
    return {"hopa": "HoPA", "pairwise-wbce": "pairwise wBCE", "infonce": "InfoNCE"}[kind]
