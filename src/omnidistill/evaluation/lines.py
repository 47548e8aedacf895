"""The lines of a table: heads trained in different ways from the same start, every choice made on validation.

    zero_shot     the heads as they start
    random        random real rows, as many as the set has; step size and number of steps chosen
    low_rank      heads W_0 + U V^T of rank N (what N rows can change at most), trained on all rows
    equal_bytes   the full run's update cut to what weighs as much as the set (`evaluation.equal_bytes`)
    cca           ridge CCA heads with bias, in one solve over all rows; ridge chosen
    distilled     the set, by its own recipe (or the set of every pair)
    full_own      all rows, by the student's objective; step size and epochs chosen
    full          all rows, by group-aware InfoNCE; step size and epochs chosen

Nothing here can see the test split: a `Development` has none.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import torch

from omnidistill.config import EvaluateConfig
from omnidistill.core.errors import NotFiniteError
from omnidistill.core.streams import Streams
from omnidistill.core.threads import threads_for
from omnidistill.data.featureset import Development, FeatureSet
from omnidistill.distill import DistilledSet
from omnidistill.distill.learnable import random_rows
from omnidistill.evaluation.full_training import choose_training
from omnidistill.evaluation.line import Line
from omnidistill.evaluation.validation import mean_score, validation_score
from omnidistill.models.heads import Heads, shared_groups
from omnidistill.models.objectives import Objective
from omnidistill.training.closed_form import accumulate_moments, ridge_cca_heads
from omnidistill.training.experts.epochs import stack_runs, train_epochs
from omnidistill.training.rollout.students import train_students


def zero_shot_line(start: Heads) -> Line:
    """The heads as they start."""
    return Line("zero-shot heads", (stack_runs(start, 1),), 0, 0.0, {})


def distilled_line(sets: Sequence[DistilledSet], start: Heads, config: EvaluateConfig, seed: int) -> Line:
    """Students trained by its recipe on the set, or on that of every pair of modalities."""
    begun = time.monotonic()
    parts = []
    for distilled in sets:
        width = next(iter(start.values())).shape[0]
        with threads_for(len(distilled), {name: start[name].shape[1] for name in distilled.modalities}, width):
            parts.append(next(distilled.students(start, seed=seed, num_runs=config.num_seeds))[1])
    recipes = [distilled.recipe for distilled in sets]
    settings = {"num_steps": recipes[0].num_steps, "step_sizes": list(recipes[0].step_sizes)}
    if len(sets) > 1:
        settings = {
            "num_steps": [recipe.num_steps for recipe in recipes],
            "step_sizes": [list(recipe.step_sizes) for recipe in recipes],
        }
    label = f"{sets[0].config.method}, {sets[0].size} rows"
    return Line(label, tuple(parts), sum(each.bytes for each in sets), time.monotonic() - begun, settings)


def full_line(
    objective: Objective, label: str, start: Heads, data: Development, config: EvaluateConfig, seed: int
) -> Line:
    """All training rows; step size and epochs chosen on validation, then fresh runs with those."""
    begun = time.monotonic()
    chosen = choose_training(
        objective,
        start,
        data,
        config.learning_rates,
        batch_size=config.batch_size,
        max_epochs=config.max_epochs,
        seed=seed,
        purpose="full/tune",
    )
    rate, num_epochs, judged = chosen.learning_rate, chosen.num_epochs, chosen.judged
    heads = stack_runs(start, config.num_seeds)
    for _ in train_epochs(
        objective,
        heads,
        data.train,
        torch.full((config.num_seeds,), rate),
        batch_size=config.batch_size,
        num_epochs=num_epochs,
        seed=seed,
        purpose="full",
    ):
        pass
    settings = {"learning_rate": rate, "num_epochs": num_epochs}
    return Line(label, (heads,), data.train.bytes, time.monotonic() - begun, settings, judged)


def random_line(
    objective: Objective,
    size: int,
    start: Heads,
    data: Development,
    config: EvaluateConfig,
    seed: int,
    *,
    batch_size: int,
    steps: Sequence[int],
) -> Line:
    """`size` random rows, others in every run, by the objective; step size and number of steps (ascending) chosen."""
    begun = time.monotonic()
    streams = Streams(seed)

    def train(rows: FeatureSet, rate: float, checkpoints: Sequence[int], stream: str) -> Iterator[Any]:
        return train_students(
            objective,
            start,
            rows.features,
            lambda batches: shared_groups(rows.group_codes[batches]),
            torch.full((len(start),), rate),
            batch_size=batch_size,
            checkpoints=checkpoints,
            generators=[streams[stream]],
        )

    width = next(iter(start.values())).shape[0]
    with threads_for(size, data.train.widths, width):
        best, judged = (-1.0, config.learning_rates[0], steps[0]), 0
        tuning = [random_rows(data.train, size, streams[f"random/tune/{draw}"]) for draw in range(2)]
        for rate in config.learning_rates:
            curves = [
                _curve(train(rows, rate, steps, f"random/tune/batches/{draw}"), len(steps), data.validation)
                for draw, rows in enumerate(tuning)
            ]
            judged += sum(score >= 0 for score in curves[0])
            for num_steps, *scores in zip(steps, *curves, strict=True):
                best = max(best, (sum(scores) / len(scores), rate, num_steps), key=lambda choice: choice[0])
        _, rate, num_steps = best
        runs = []
        for run in range(config.num_seeds):
            rows = random_rows(data.train, size, streams[f"random/{run}"])
            runs.append(next(train(rows, rate, [num_steps], f"random/batches/{run}"))[1])
    heads = {name: torch.cat([run[name] for run in runs]) for name in start}
    row_bytes = 4 * sum(data.train.widths.values())
    settings = {"step_size": rate, "num_steps": num_steps}
    return Line(f"random, {size} rows", (heads,), size * row_bytes, time.monotonic() - begun, settings, judged)


def cca_line(start: Heads, data: Development) -> Line:
    """Ridge CCA heads with bias, in one solve over all rows; ridge and pairing chosen. As wide as the start, if the
    features are.
    """
    begun = time.monotonic()
    widths = {name: matrix.shape[1] for name, matrix in start.items()}
    rank = min(next(iter(start.values())).shape[0], *widths.values())
    best: tuple[float, Heads, dict[str, Any], dict[str, Any]] | None = None
    judged = 0
    for pairing in ("groups", "rows") if data.train.pairing is None else ("rows",):
        moments = accumulate_moments(data.train, pairing)
        for ridge in _RIDGES:
            heads, bias = ridge_cca_heads(moments, rank, ridge)
            score, judged = validation_score(heads, data.validation, bias), judged + 1
            if best is None or score > best[0]:
                best = score, heads, bias, {"ridge": ridge, "pairing": pairing, "rank": rank}
    assert best is not None
    _, heads, bias, settings = best
    num_bytes = 4 * (rank + 1) * sum(widths.values())
    label = "ridge CCA heads, all rows"
    return Line(label, (stack_runs(heads, 1),), num_bytes, time.monotonic() - begun, settings, judged, bias)


_RIDGES = (0.03, 0.1, 0.3, 1.0, 3.0)


def _curve(students: Iterator[Any], length: int, validation: FeatureSet) -> list[float]:
    """Validation score at every checkpoint; -1 from where training diverged."""
    scores: list[float] = []
    with suppress(NotFiniteError):
        scores += (mean_score(heads, validation) for _, heads in students)
    return scores + [-1.0] * (length - len(scores))
