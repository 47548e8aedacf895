"""What a comparison takes beside making sets: students of each set, and the lines that sets are read beside."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from omnidistill.config import HopaConfig, LearnedConfig, PairwiseConfig, RunConfig, SelectConfig
from omnidistill.core.streams import Streams
from omnidistill.evaluation.low_rank import RATES, LowRankHeads, low_rank_line
from omnidistill.evaluation.validation import run_of, validation_score
from omnidistill.experiments.comparison.plan import ReferenceCell
from omnidistill.experiments.dry_run.cost_estimate import Stage
from omnidistill.experiments.dry_run.method_stages import STUDENT_STEPS, set_of_random_rows, step_seconds
from omnidistill.experiments.dry_run.search_estimate import Run, tried_search
from omnidistill.experiments.dry_run.training_stages import Measured, epoch_seconds, usual_seconds
from omnidistill.models.objectives import InfoNCE, Objective, objective_from
from omnidistill.training.closed_form import accumulate_moments, ridge_cca_heads
from omnidistill.training.rank_floor import singular_values

_RANDOM_STEPS, _RANDOM_SCORES = 2048, 9  # tried of random rows at every step size, twice
_RANDOM_BATCH = 128
_CCA_SOLVES = 5  # ridges of a pairing


def cell_students(measured: Measured, config: RunConfig, scoring: float) -> Stage:
    """Students trained on a set and scored; it has a matched number of steps, or usually 64."""
    settings, num_runs = config.distill, config.evaluate.num_seeds
    steps = settings.num_student_steps if isinstance(settings, LearnedConfig) else STUDENT_STEPS
    seconds = steps * step_seconds(measured, set_of_random_rows(measured, config), num_runs)
    return Stage("students", steps, "steps", seconds + num_runs * scoring)


def reference_stage(measured: Measured, cell: ReferenceCell, scoring: float) -> Stage:
    """The stage that trains a reference line and scores its runs; each by its own rule."""
    evaluate, num_runs, names = cell.evaluate, cell.evaluate.num_seeds, tuple(measured.start)
    match cell.name:
        case "zero-shot":
            return Stage(cell.name, 1, "scores", scoring)
        case "full":
            heads = num_runs * measured.bytes
            return _full(measured, cell, InfoNCE(evaluate.tau), num_runs * scoring, heads)
        case "full-hopa":
            return _full(measured, cell, objective_from(HopaConfig(), names), num_runs * scoring)
        case "full-pairwise-wbce":
            return _full(measured, cell, objective_from(PairwiseConfig(), names), num_runs * scoring)
        case "cca":
            return _cca(measured, scoring)
        case "random":
            return _random(measured, cell, num_runs * scoring)
        case "low-rank":
            return _low_rank(measured, cell, num_runs * scoring)
        case _:  # heads of equal bytes: the update of every run, cut
            cutting = usual_seconds(lambda: [singular_values(matrix) for matrix in measured.start.values()])
            return Stage(_sized(cell), num_runs, "heads", num_runs * (cutting + scoring))


def _full(measured: Measured, cell: ReferenceCell, objective: Objective, scoring: float, kept: int = 0) -> Stage:
    evaluate = cell.evaluate
    alone, together = (
        epoch_seconds(objective, measured.start, num_runs, measured.data.train, evaluate.batch_size)
        for num_runs in (1, evaluate.num_seeds)
    )
    found = measured.search(
        objective,
        evaluate.learning_rates,
        batch_size=evaluate.batch_size,
        longest=evaluate.max_epochs,
        epoch=alone,
        seed=cell.seed,
        purpose="full/tune",
    )
    seconds = found.judged * (alone + measured.score) + found.chosen * together + scoring
    return Stage(cell.name, found.judged + found.chosen, "epochs", seconds, kept, usual=True)


def _cca(measured: Measured, scoring: float) -> Stage:
    train, begun = measured.data.train, time.monotonic()
    moments = accumulate_moments(train, "rows")
    read = time.monotonic() - begun
    rank = min(next(iter(measured.start.values())).shape[0], *train.widths.values())
    begun = time.monotonic()
    ridge_cca_heads(moments, rank, 0.3)
    solve = time.monotonic() - begun
    pairings = 2 if train.pairing is None else 1
    count = pairings * _CCA_SOLVES
    return Stage("cca", count, "solves", pairings * read + count * (solve + measured.score) + scoring)


def _random(measured: Measured, cell: ReferenceCell, scoring: float) -> Stage:
    evaluate, size = cell.evaluate, cell.size or 2
    settings = SelectConfig(size=size, batch_size=max(2, min(_RANDOM_BATCH, size)))
    distilled = set_of_random_rows(measured, RunConfig(distill=settings))
    count = 2 * len(evaluate.learning_rates)
    steps = count * _RANDOM_STEPS + evaluate.num_seeds * STUDENT_STEPS
    seconds = steps * step_seconds(measured, distilled, 1) + count * _RANDOM_SCORES * measured.score + scoring
    return Stage(_sized(cell), steps, "steps", seconds)


def _low_rank(measured: Measured, cell: ReferenceCell, scoring: float) -> Stage:
    """A short training of the line itself: an epoch of a few rows at every rate, and one of all runs."""
    evaluate, train = cell.evaluate, measured.data.train
    rank = min(cell.size or 1, *(side for matrix in measured.start.values() for side in matrix.shape))
    few = train.select(torch.arange(min(len(train), 4 * evaluate.batch_size)))
    short = evaluate.model_copy(update={"max_epochs": 1})
    data = replace(measured.data, train=few)
    took = usual_seconds(lambda: low_rank_line(rank, measured.start, data, short, cell.seed))
    took -= len(RATES) * measured.score
    epoch = max(took, 0.0) / (len(RATES) + evaluate.num_seeds) * len(train) / len(few)
    runs = (_low_rank_run(measured, rank, rate, cell) for rate in RATES)
    found = tried_search(runs, len(RATES), evaluate.max_epochs, epoch + measured.score)
    seconds = found.judged * (epoch + measured.score) + found.chosen * evaluate.num_seeds * epoch + scoring
    return Stage(_sized(cell), found.judged + found.chosen, "epochs", seconds, usual=True)


def _low_rank_run(measured: Measured, rank: int, rate: float, cell: ReferenceCell) -> Run:
    purpose, data, evaluate = "low rank/tune", measured.data, cell.evaluate
    heads = LowRankHeads(measured.start, rank, 1, Streams(cell.seed)[purpose])
    epochs = heads.epochs(data.train, rate, evaluate, evaluate.max_epochs, cell.seed, purpose)
    return epochs, lambda: validation_score(run_of(heads.heads(), 0), data.validation)


def _sized(cell: ReferenceCell) -> str:
    return f"{cell.name}, {cell.size} rows" if cell.size is not None else f"{cell.name}, {cell.budget:,} B"
