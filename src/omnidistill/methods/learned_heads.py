"""What methods share that learn tensors from which heads are computed (`distillation.head_learning`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

import torch

from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.head_learning import L, LearnableHeads, Learning
from omnidistill.evaluation.validation import validation_score
from omnidistill.io.tracking import MetricsRecord, Progress
from omnidistill.models.heads import Heads
from omnidistill.training.recipes.anchor_regression import stack_on

_WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
NUM_WEIGHTS = 1 + len(_WEIGHTS)
"""Number of weights that `best_stack_weight` evaluates on validation."""


def most_directions(train: FeatureSet) -> int:
    """Return the largest useful number of rows: the second largest feature width, but at most that of training rows.

    Further rows would start as zeros, because no two modalities have more canonical directions in common.
    """
    return min(len(train), sorted(train.widths.values())[-2])


def notes_on_size(size: int, train: FeatureSet) -> list[str]:
    """Return a note if a set of this size has more rows than useful, otherwise an empty list."""
    if size <= (most := most_directions(train)):
        return []
    return [f"{size} rows: no two modalities have more than {most} directions in common, so {most} rows are enough"]


@dataclass(frozen=True)
class LearningOutcome(Generic[L]):
    """The result of learning.

    Attributes:
        best: the tensors with the best validation score, or the last ones if validation cannot choose.
        score: their validation score.
        records: loss and validation score of every iteration.
        num_evaluated: number of evaluations on validation.
    """

    best: L
    score: float
    records: tuple[MetricsRecord, ...]
    num_evaluated: int


def learn_with_validation(
    learning: Learning[L],
    first: tuple[float, L],
    choose: bool,
    iterations: int,
    validate_every: int,
    score: Callable[[L], float],
    progress: Progress,
) -> LearningOutcome[L]:
    """Take all steps of learning, and validate at regular intervals.

    Args:
        learning: the learning, before its first step.
        first: validation score and tensors before learning.
        choose: whether validation chooses among the tensors; otherwise the last ones are returned.
        iterations: number of steps.
        validate_every: steps between validations. The tensors after the last step are validated as well.
        score: returns the validation score of tensors.
        progress: advances by one after every step.
    """
    (best_score, best), num_evaluated, records = first, 0, []
    for iteration in range(1, iterations + 1):
        values = {"loss": learning.step()}
        if iteration % validate_every == 0 or iteration == iterations:
            values["validation"], num_evaluated = score(learning.learned), num_evaluated + 1
            if not choose or values["validation"] > best_score:
                best_score, best = values["validation"], learning.learned.detached()
        records.append(MetricsRecord(iteration, values, ()))
        progress.advance(1, **values)
    return LearningOutcome(best, best_score, tuple(records), num_evaluated)


@torch.no_grad()
def best_stack_weight(learned: LearnableHeads, start: Heads, validation: FeatureSet) -> float:
    """Return the weight with which heads are stacked on the initial heads; the best of several on validation."""
    rows, heads = learned.solved()
    return max(
        (float(learned.weight), *_WEIGHTS),
        key=lambda weight: validation_score(stack_on(start, heads, rows, weight), validation),
    )
