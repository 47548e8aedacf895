"""The lines of a table: heads trained in different ways from the same start, every choice made on validation.

    zero_shot     the heads as they start
    random        random real rows, as many as the set has; step size and number of steps chosen
    low_rank      heads W_0 + U V^T of rank N (what N rows can change at most), trained on all rows
    equal_bytes   the full run's update truncated to the rank that weighs as much as the set
    distilled     the set, by its own recipe
    full_own      all rows, by the student's objective; step size and epochs chosen
    full          all rows, by group-aware InfoNCE; step size and epochs chosen

Nothing here can see the test split: a `Development` has none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.config import EvaluateConfig
from omnidistill.distill import DistilledSet
from omnidistill.distill.learnable import random_rows
from omnidistill.errors import NotFiniteError
from omnidistill.evaluation.choosing import mean_score, run_of, step_choices, validation_score
from omnidistill.experts.train import StackedHeads, epoch_orders, stack_runs, train_epochs
from omnidistill.features.featureset import Development, FeatureSet
from omnidistill.heads import Heads, shared_groups
from omnidistill.objectives import InfoNCE, Objective, objective_from
from omnidistill.randomness import Streams
from omnidistill.rollout.students import train_students

_PATIENCE_EPOCHS = 6


@dataclass(frozen=True)
class Line:
    """One way of training: heads of R runs (R x d x p_m), what it took, and what validation chose."""

    label: str
    heads: StackedHeads
    bytes: int
    seconds: float
    settings: dict[str, Any]


def zero_shot_line(start: Heads) -> Line:
    """The heads as they start."""
    return Line("zero-shot heads", stack_runs(start, 1), 0, 0.0, {})


def distilled_line(distilled: DistilledSet, start: Heads, config: EvaluateConfig, seed: int) -> Line:
    """Students trained on the set by its recipe."""
    begun = time.monotonic()
    _, heads = next(distilled.students(start, seed=seed, num_runs=config.num_seeds))
    label = f"{distilled.config.method}, {len(distilled)} rows"
    settings = {"num_steps": distilled.recipe.num_steps, "step_sizes": list(distilled.recipe.step_sizes)}
    return Line(label, heads, distilled.bytes, time.monotonic() - begun, settings)


def full_line(
    objective: Objective, label: str, start: Heads, data: Development, config: EvaluateConfig, seed: int
) -> Line:
    """All training rows; step size and epochs chosen on validation, then fresh runs with those."""
    begun = time.monotonic()
    best = (-1.0, config.learning_rates[0], 1)
    for rate in config.learning_rates:
        heads = stack_runs(start, 1)
        epochs = train_epochs(
            objective,
            heads,
            data.train,
            torch.tensor([rate]),
            batch_size=config.batch_size,
            num_epochs=config.max_epochs,
            seed=seed,
            purpose="full/tune",
        )
        score, epoch = _best_epoch(epochs, lambda heads=heads: validation_score(run_of(heads, 0), data.validation))  # type: ignore[misc]
        best = max(best, (score, rate, epoch), key=lambda choice: choice[0])
    _, rate, num_epochs = best
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
    return Line(label, heads, data.train.bytes, time.monotonic() - begun, settings)


def random_line(distilled: DistilledSet, start: Heads, data: Development, config: EvaluateConfig, seed: int) -> Line:
    """As many random rows as the set has, other rows in every run, by the student's objective."""
    begun = time.monotonic()
    streams, size = Streams(seed), len(distilled)
    objective = objective_from(distilled.config.distill.student, distilled.modalities)
    batch_size = distilled.recipe.batch_size
    steps = step_choices(distilled.config.distill.num_student_steps)

    def train(rows: FeatureSet, rate: float, checkpoints: list[int], stream: str) -> Iterator[Any]:
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

    best = (-1.0, config.learning_rates[0], steps[0])
    tuning = [random_rows(data.train, size, streams[f"random/tune/{draw}"]) for draw in range(2)]
    for rate in config.learning_rates:
        curves = [
            _curve(train(rows, rate, steps, f"random/tune/batches/{draw}"), len(steps), data.validation)
            for draw, rows in enumerate(tuning)
        ]
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
    return Line(f"random, {size} rows", heads, size * row_bytes, time.monotonic() - begun, settings)


def equal_bytes_line(full: Line, start: Heads, num_bytes: int) -> Line:
    """The full run's update of every head truncated to the largest rank whose factors weigh at most `num_bytes`."""
    begun = time.monotonic()
    per_rank = 4 * sum(matrix.shape[0] + matrix.shape[1] for matrix in start.values())
    rank = num_bytes // per_rank
    heads = {name: matrix + _truncated(full.heads[name] - matrix, rank) for name, matrix in start.items()}
    return Line(
        f"heads of equal bytes (rank {rank})",
        heads,
        rank * per_rank,
        full.seconds + time.monotonic() - begun,
        {"rank": rank},
    )


def low_rank_line(rank: int, start: Heads, data: Development, config: EvaluateConfig, seed: int) -> Line:
    """W_0 + U V^T of the given rank, trained on all rows by InfoNCE with Adam; rate and epochs chosen on validation."""
    begun = time.monotonic()
    best = (-1.0, _LOW_RANK_RATES[0], 1)
    for rate in _LOW_RANK_RATES:
        factors = _Factors(start, rank, 1, Streams(seed)["low rank/tune"])
        epochs = factors.epochs(data.train, rate, config, config.max_epochs, seed, "low rank/tune")
        score, epoch = _best_epoch(
            epochs,
            lambda factors=factors: validation_score(run_of(factors.heads(), 0), data.validation),  # type: ignore[misc]
        )
        best = max(best, (score, rate, epoch), key=lambda choice: choice[0])
    _, rate, num_epochs = best
    factors = _Factors(start, rank, config.num_seeds, Streams(seed)["low rank"])
    for _ in factors.epochs(data.train, rate, config, num_epochs, seed, "low rank"):
        pass
    num_bytes = 4 * rank * sum(sum(matrix.shape) for matrix in start.values())
    settings = {"learning_rate": rate, "num_epochs": num_epochs, "rank": rank}
    return Line(f"heads of rank {rank}, all rows", factors.heads(), num_bytes, time.monotonic() - begun, settings)


_LOW_RANK_RATES = (0.001, 0.003, 0.01)


class _Factors:
    """Heads W_0 + U V^T of several runs, updated by Adam on the closed-form InfoNCE gradient."""

    def __init__(self, start: Heads, rank: int, num_runs: int, generator: torch.Generator) -> None:
        self.start = start
        self.left = {name: torch.zeros(num_runs, matrix.shape[0], rank) for name, matrix in start.items()}
        self.right = {
            name: torch.randn(num_runs, matrix.shape[1], rank, generator=generator) / matrix.shape[1] ** 0.5
            for name, matrix in start.items()
        }

    def heads(self) -> StackedHeads:
        return {name: matrix + self.left[name] @ self.right[name].mT for name, matrix in self.start.items()}

    def epochs(
        self, train: FeatureSet, rate: float, config: EvaluateConfig, num_epochs: int, seed: int, purpose: str
    ) -> Iterator[Any]:
        objective = InfoNCE(config.tau)
        leaves = [*self.left.values(), *self.right.values()]
        optimiser = torch.optim.Adam(leaves, lr=rate)
        size, num_runs = min(config.batch_size, len(train)), len(leaves[0])
        for epoch in range(num_epochs):
            orders = epoch_orders(num_runs, len(train), seed=seed, purpose=purpose, epoch=epoch)
            for begin in range(0, len(train) - size + 1, size):
                self._gradients(objective, train, orders[:, begin : begin + size])
                optimiser.step()
            yield epoch + 1

    def _gradients(self, objective: Objective, train: FeatureSet, batch: Int[Tensor, "R b"]) -> None:
        inputs = {name: train.features[name][batch] for name in self.start}
        inner = {name: x @ self.right[name] for name, x in inputs.items()}
        outputs = torch.stack(
            [inputs[name] @ matrix.mT + inner[name] @ self.left[name].mT for name, matrix in self.start.items()], dim=1
        )
        deltas = objective.gradient(outputs, shared_groups(train.group_codes[batch]))
        for m, name in enumerate(self.start):
            delta = deltas[:, m]
            self.left[name].grad = delta.mT @ inner[name]
            self.right[name].grad = inputs[name].mT @ (delta @ self.left[name])


def _best_epoch(epochs: Any, score: Callable[[], float]) -> tuple[float, int]:
    """Best score and its epoch; stops when it has not risen for some epochs or training diverged."""
    best, best_epoch = -1.0, 1
    try:
        for epoch in epochs:
            current = score()
            if current > best:
                best, best_epoch = current, epoch
            elif epoch - best_epoch >= _PATIENCE_EPOCHS:
                break
    except NotFiniteError:
        pass
    return best, best_epoch


def _curve(students: Iterator[Any], length: int, validation: FeatureSet) -> list[float]:
    """Validation score at every checkpoint; -1 from where training diverged."""
    scores: list[float] = []
    with suppress(NotFiniteError):
        scores += (mean_score(heads, validation) for _, heads in students)
    return scores + [-1.0] * (length - len(scores))


def _truncated(update: Float[Tensor, "R d p"], rank: int) -> Float[Tensor, "R d p"]:
    """Best approximation of each update by a matrix of at most that rank."""
    values = update if update.shape[1] <= update.shape[2] else update.mT
    basis = torch.linalg.eigh(values @ values.mT)[1][..., max(0, values.shape[1] - rank) :]
    kept = basis @ (basis.mT @ values) if rank else torch.zeros_like(values)
    return kept if values is update else kept.mT
