"""Functions shared by methods that learn a set from which heads are computed in closed form.

`distillation.head_learning` contains the learning itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic

import torch

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.head_learning import L, LearnableHeads, Learning
from omnidistill.evaluation.validation import validation_score
from omnidistill.io.tracking import MetricsRecord, Progress
from omnidistill.models.heads import Heads
from omnidistill.training.recipes.anchor_regression import stack_on

_WEIGHTS = (0.5, 0.6, 0.7, 0.8, 0.9)
NUM_WEIGHTS = 1 + len(_WEIGHTS)
"""Number of candidate weights that `best_stack_weight` evaluates on validation, without those in `further`."""


def most_directions(train: FeatureSet) -> int:
    """Return the largest useful number of synthetic rows.

    This is the second largest feature width (768 for the widths 512, 768 and 1024), but at most the number of training
    rows. No two modalities can share more canonical directions. If there are only two modalities, further rows would
    initially be zero.
    """
    return min(len(train), sorted(train.widths.values())[-2])


def check_size(kind: str, num_stored: int, num_rows: int, train: FeatureSet) -> None:
    """Check the size of a set that is learned for the recipe "anchor". Every stored row must give one training row.

    Args:
        kind: name of the method, for messages.
        num_stored: number of stored rows.
        num_rows: number of training rows that the storage derives from them.
        train: training rows of the data.

    Raises:
        InputError: the number of stored rows is below 2 or above the number of training rows of the data, or the
            storage derives several rows (views) from each stored row.
    """
    if not 2 <= num_stored <= len(train):
        raise InputError(
            f"distill.size = {num_stored}: with method '{kind}', the size must be between 2 and the number of training "
            f"rows ({len(train)})"
        )
    if num_rows != num_stored:
        raise InputError(f"distill.storage.views: method '{kind}' supports only one view per stored row; set it to 1")


def notes_on_size(size: int, train: FeatureSet) -> list[str]:
    """Return a list with one note if a set of this size has more rows than are useful, otherwise an empty list."""
    if size <= (most := most_directions(train)):
        return []
    return [f"{size} rows: no two modalities have more than {most} directions in common, so {most} rows are enough"]


@dataclass(frozen=True)
class LearningOutcome(Generic[L]):
    """The result of `learn_with_validation`.

    Attributes:
        best: the learned tensors with the best validation score. If the validation split is too small for this choice,
            the tensors after the last iteration.
        score: validation score of these tensors.
        records: loss of every iteration, and the validation scores that were computed.
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
    """Take all learning steps, and validate the learned tensors at regular intervals.

    Args:
        learning: object that takes the steps. It must not have taken a step yet.
        first: (validation score, tensors) before the first step.
        choose: True to return the tensors with the best validation score, False to return the last ones.
        iterations: number of steps.
        validate_every: number of steps between validations. The tensors after the last step are validated as well.
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
def best_stack_weight(
    learned: LearnableHeads, start: Heads, validation: FeatureSet, further: Sequence[float] = ()
) -> float:
    """Choose the weight of learned heads when their outputs are concatenated with those of initial heads.

    The weight with the best validation score is chosen. `further` contains candidate weights in addition to the default
    candidates.
    """
    rows, heads = learned.solved()
    return max(
        (float(learned.weight), *further, *_WEIGHTS),
        key=lambda weight: validation_score(stack_on(start, heads, rows, weight), validation),
    )
