"""What a comparison takes beside making sets: students of each set, and the lines that sets are read beside."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from omnidistill.core.streams import Streams
from omnidistill.distillation.loop_settings import LoopSettings
from omnidistill.evaluation.baselines import Allowance, Setting
from omnidistill.evaluation.baselines.all_rows import AllRows, AllRowsOwn
from omnidistill.evaluation.baselines.equal_bytes import EqualBytes
from omnidistill.evaluation.baselines.low_rank_heads import LowRank, LowRankHeads
from omnidistill.evaluation.baselines.random_real_rows import RandomRows
from omnidistill.evaluation.baselines.ridge_cca import RidgeCca
from omnidistill.evaluation.baselines.zero_shot import ZeroShot
from omnidistill.evaluation.validation import run_of, validation_score
from omnidistill.experiments.comparison.plan import BaselineCell
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.dry_run.cost_estimate import Stage
from omnidistill.experiments.dry_run.method_stages import STUDENT_STEPS, set_of_random_rows, step_seconds
from omnidistill.experiments.dry_run.search_estimate import Run, tried_search
from omnidistill.experiments.dry_run.training_stages import Measured, epoch_seconds, usual_seconds
from omnidistill.methods.select import Select
from omnidistill.models.objectives import InfoNCE, Objective
from omnidistill.training.closed_form import accumulate_moments, ridge_cca_heads
from omnidistill.training.rank_floor import singular_values

_RANDOM_STEPS, _RANDOM_SCORES = 2048, 9  # tried of random rows at every step size, twice
_RANDOM_BATCH = 128
_CCA_SOLVES = 5  # ridges of a pairing


def cell_students(measured: Measured, config: RunConfig, scoring: float) -> Stage:
    """Students trained on a set and scored; it has a matched number of steps, or usually 64."""
    settings, num_runs = config.distill, config.evaluate.num_seeds
    steps = settings.num_student_steps if isinstance(settings, LoopSettings) else STUDENT_STEPS
    seconds = steps * step_seconds(measured, set_of_random_rows(measured, config), num_runs)
    return Stage("students", steps, "steps", seconds + num_runs * scoring)


def reference_stage(measured: Measured, cell: BaselineCell, scoring: float) -> Stage:
    """The stage that trains a reference line and scores its runs; each by its own rule."""
    evaluate, num_runs, names = cell.evaluate, cell.evaluate.num_seeds, tuple(measured.start)
    match cell.baseline:
        case ZeroShot():
            return Stage(cell.name, 1, "scores", scoring)
        case AllRows():
            heads = num_runs * measured.bytes
            return _full(measured, cell, InfoNCE(tau=evaluate.tau), num_runs * scoring, heads)
        case AllRowsOwn(objective=objective) if objective is not None:
            return _full(measured, cell, objective.bind(names), num_runs * scoring)
        case RidgeCca():
            return _cca(measured, scoring)
        case RandomRows():
            return _random(measured, cell, num_runs * scoring)
        case LowRank():
            return _low_rank(measured, cell, num_runs * scoring)
        case EqualBytes():  # the update of every run, cut
            cutting = usual_seconds(lambda: [singular_values(matrix) for matrix in measured.start.values()])
            return Stage(_sized(cell), num_runs, "heads", num_runs * (cutting + scoring))
        case _:
            return _unknown(measured, cell, num_runs * scoring)


def _unknown(measured: Measured, cell: BaselineCell, scoring: float) -> Stage:
    """A baseline of another package: fitted to a few rows, its time taken to grow with their number."""
    train = measured.data.train
    few = train.select(torch.arange(min(len(train), 4 * cell.evaluate.batch_size), device="cpu"))
    allowance = cell.allowance and Allowance(min(cell.allowance.rows, len(few)), cell.allowance.bytes)
    setting = Setting(replace(measured.data, train=few), measured.start, cell.evaluate, cell.seed, allowance)
    if cell.baseline.needs:
        return Stage(_sized(cell), 1, "fits", scoring, usual=True)
    took = usual_seconds(lambda: cell.baseline.fit(setting))
    return Stage(_sized(cell), 1, "fits", took * len(train) / len(few) + scoring, usual=True)


def _full(measured: Measured, cell: BaselineCell, objective: Objective, scoring: float, kept: int = 0) -> Stage:
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


def _random(measured: Measured, cell: BaselineCell, scoring: float) -> Stage:
    evaluate, size = cell.evaluate, cell.allowance.rows if cell.allowance else 2
    settings = Select(size=size, batch_size=max(2, min(_RANDOM_BATCH, size)))
    distilled = set_of_random_rows(measured, RunConfig(distill=settings))
    count = 2 * len(evaluate.learning_rates)
    steps = count * _RANDOM_STEPS + evaluate.num_seeds * STUDENT_STEPS
    seconds = steps * step_seconds(measured, distilled, 1) + count * _RANDOM_SCORES * measured.score + scoring
    return Stage(_sized(cell), steps, "steps", seconds)


def _low_rank(measured: Measured, cell: BaselineCell, scoring: float) -> Stage:
    """A short training of the line itself: an epoch of a few rows at every rate, and one of all runs."""
    evaluate, train = cell.evaluate, measured.data.train
    rates = LowRank().learning_rates
    rank = min(
        cell.allowance.rows if cell.allowance else 1,
        *(side for matrix in measured.start.values() for side in matrix.shape),
    )
    few = train.select(torch.arange(min(len(train), 4 * evaluate.batch_size), device="cpu"))
    short = evaluate.evolve(max_epochs=1)
    data = replace(measured.data, train=few)
    took = usual_seconds(lambda: LowRank().fit(Setting(data, measured.start, short, cell.seed, Allowance(rank, 0))))
    took -= len(rates) * measured.score
    epoch = max(took, 0.0) / (len(rates) + evaluate.num_seeds) * len(train) / len(few)
    runs = (_low_rank_run(measured, rank, rate, cell) for rate in rates)
    found = tried_search(runs, len(rates), evaluate.max_epochs, epoch + measured.score)
    seconds = found.judged * (epoch + measured.score) + found.chosen * evaluate.num_seeds * epoch + scoring
    return Stage(_sized(cell), found.judged + found.chosen, "epochs", seconds, usual=True)


def _low_rank_run(measured: Measured, rank: int, rate: float, cell: BaselineCell) -> Run:
    purpose, data, evaluate = "low rank/tune", measured.data, cell.evaluate
    heads = LowRankHeads(measured.start, rank, 1, Streams(cell.seed)[purpose])
    epochs = heads.epochs(data.train, rate, evaluate, evaluate.max_epochs, cell.seed, purpose)
    return epochs, lambda: validation_score(run_of(heads.heads(), 0), data.validation)


def _sized(cell: BaselineCell) -> str:
    if cell.budget is not None:
        return f"{cell.name}, {cell.budget:,} B"
    return cell.name if cell.size is None else f"{cell.name}, {cell.size} rows"
