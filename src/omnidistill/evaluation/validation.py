"""Choices on the validation split: the number of training steps on a set, and the step sizes of its recipe.

Rows of one group are not independent, so the error of a score depends on the number of groups, not of rows. For G
groups of equal size with scores in [0, 1], the standard error of the mean score is at most 1 / (2 sqrt(G)). With 51
groups, this bound is 7 percentage points; choices on fewer groups are doubtful. With 20 groups it is 11 points, which
is more than the usual gain from a set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import NotFiniteError
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet, ValidationResult
from omnidistill.distillation.head_learning import LearnableHeads
from omnidistill.evaluation.directions import mean_recall, rank_heads
from omnidistill.models.heads import Heads
from omnidistill.training.recipes.anchor_regression import stack_on


def validation_score(
    heads: Heads, validation: FeatureSet, bias: Mapping[str, Float[Tensor, " _"]] | None = None
) -> float:
    """Return the mean of R@1, R@5 and R@10 over all retrieval directions, in [0, 1].

    If several rows of a group have the same features in a modality, they count as one query and one gallery item there.
    The score is rounded to 12 digits. Without rounding, equal numbers of hits could give slightly different scores,
    because the last digits depend on the order of additions.
    """
    recall = mean_recall(rank_heads(heads, validation, bias))
    return round(sum(recall.values()) / len(recall), 12)


def largest_error(validation: FeatureSet) -> float:
    """Return the largest possible standard error of a validation score: 1 / (2 sqrt(G)) for G groups of equal size."""
    return 0.5 / math.sqrt(_num_groups(validation))


def can_choose(validation: FeatureSet) -> bool:
    """Return whether the validation split has enough groups (at least 20) to choose the best of many sets."""
    return _num_groups(validation) >= _FEWEST_GROUPS


def doubt(validation: FeatureSet) -> str | None:
    """Return a note if the validation split has too few groups (fewer than 51) for reliable choices, else None."""
    error = largest_error(validation)
    if error <= _DOUBTFUL_ERROR:
        return None
    groups = f"{_num_groups(validation)} groups ({len(validation)} rows)"
    return f"small validation split: with {groups} the standard error of a score may be {100 * error:.0f} points"


def mean_score(
    heads: Mapping[str, Float[Tensor, "_ _ _"]],
    validation: FeatureSet,
    bias: Mapping[str, Float[Tensor, " _"]] | None = None,
) -> float:
    """Return the mean validation score of all runs in `heads`. `bias` is added to the outputs of every run."""
    num_runs = len(next(iter(heads.values())))
    return sum(validation_score(run_of(heads, run), validation, bias) for run in range(num_runs)) / num_runs


def run_of(heads: Mapping[str, Float[Tensor, "_ _ _"]], run: int) -> Heads:
    """Return the heads of one run, given the heads of several runs."""
    return {name: matrix[run] for name, matrix in heads.items()}


@torch.no_grad()
def score_alone_and_stacked(learned: LearnableHeads, start: Heads, validation: FeatureSet, start_share: float) -> float:
    """Return the sum of two validation scores, with the weights 1 - `start_share` and `start_share`.

    The first is the score of the learned heads. The second is that of the learned heads stacked on the initial heads:
    the outputs of both are weighted and concatenated (see `stack_on`).

    Args:
        learned: the tensors from which the learned heads are computed.
        start: initial heads {modality: d x p_m}.
        validation: the validation split.
        start_share: weight in [0, 1] of the second score. The loss in `distillation.head_learning` uses the same one.
    """
    rows, heads = learned.solved()
    alone = validation_score(heads, validation)
    if not start_share:
        return alone
    stacked = stack_on(start, heads, rows, learned.weight)
    return (1 - start_share) * alone + start_share * validation_score(stacked, validation)


def step_choices(num_student_steps: int) -> list[int]:
    """Return the candidate numbers of training steps, from 0.5 to 16 times `num_student_steps`."""
    factors = (0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16)
    return sorted({math.ceil(num_student_steps * factor) for factor in factors})


def doubling_steps(longest: int) -> list[int]:
    """Return the candidate numbers of steps 8, 16, 32, ... up to `longest`; only `longest` if it is below 8."""
    steps = [8]
    while 2 * steps[-1] <= longest:
        steps.append(2 * steps[-1])
    return steps if longest >= 8 else [longest]


@dataclass(frozen=True)
class Choice:
    """A set with the recipe that scored best on validation, this score, and how many recipes were evaluated."""

    distilled: DistilledSet
    score: float
    num_evaluated: int


def choose_recipe(
    distilled: DistilledSet,
    start: Heads,
    validation: FeatureSet,
    learning_rates: Sequence[float],
    steps: Sequence[int],
    num_runs: int = 2,
    report: Callable[..., object] = lambda n, **fields: None,
) -> Choice:
    """Choose the number of steps and the step size (the same for all modalities) with the best mean validation score.

    For each step size, the numbers of steps are tried in ascending order. After three candidates in a row without
    improvement, or when training diverges, the search moves on to the next step size.

    Args:
        distilled: the set.
        start: initial heads, {modality: d x p_m}.
        validation: the validation split.
        learning_rates: candidate step sizes.
        steps: candidate numbers of steps, ascending.
        num_runs: number of students per candidate.
        report: `Progress.advance` or a function with the same arguments; called after every candidate.

    Raises:
        NotFiniteError: training diverges at every step size.
    """
    best, best_score, num_evaluated = distilled, -1.0, 0
    for rate in learning_rates:
        rates = (rate,) * len(distilled.modalities)
        candidate = distilled.with_recipe(distilled.recipe.evolve(step_sizes=rates))
        peak, since = -1.0, 0
        for num_steps, heads in validated_students(candidate, start, steps, num_runs):
            score, num_evaluated = mean_score(heads, validation), num_evaluated + 1
            report(0, validation=score, steps=num_steps)
            peak, since = (score, 0) if score > peak else (peak, since + 1)
            if score > best_score:
                best, best_score = candidate.with_steps(num_steps), score
            if since == 3:
                break
    if not num_evaluated:
        raise NotFiniteError(
            f"students diverge at every step size ({', '.join(f'{rate:g}' for rate in learning_rates)}); "
            "use smaller distill.learning_rates"
        )
    return Choice(best, best_score, num_evaluated)


def validated_students(
    distilled: DistilledSet, start: Heads, steps: Sequence[int], num_runs: int = 2
) -> Iterator[tuple[int, dict[str, Float[Tensor, "_ _ _"]]]]:
    """Train students for validation; yield the number of steps and the heads (R x d x p_m) at each checkpoint.

    Training stops at the first checkpoint at which heads contain NaN or Inf, and nothing is yielded for it. The
    mini-batches have a fixed seed of their own, so validation does not change the random numbers of other computations.
    """
    for num_steps, heads in distilled.students(start, seed=_STUDENT_SEED, num_runs=num_runs, checkpoints=steps):
        if not all(bool(torch.isfinite(matrix).all()) for matrix in heads.values()):
            return
        yield num_steps, heads


def validate_set(
    distilled: DistilledSet, start: Heads, validation: FeatureSet, num_student_steps: int, num_runs: int = 2
) -> ValidationResult:
    """Train students on the set; return the number of steps with the best validation score, and that score.

    Candidates range from 0.5 to 16 times `num_student_steps`, the number of steps used when the set was learned.
    Validation stops after three candidates in a row without improvement. If the recipe fixes the mini-batches, all
    students are identical, so only one is trained.
    """
    best, since, num_evaluated = ValidationResult(-1.0, 0), 0, 0
    steps = step_choices(num_student_steps)
    num_runs = 1 if getattr(distilled.recipe, "order", None) is not None else num_runs
    for num_steps, heads in validated_students(distilled, start, steps, num_runs):
        score, since, num_evaluated = mean_score(heads, validation), since + 1, num_evaluated + 1
        if score > best.score:
            best, since = ValidationResult(score, num_steps), 0
        if since == 3:
            break
    return replace(best, num_evaluated=num_evaluated)


def _num_groups(validation: FeatureSet) -> int:
    return len(set(validation.groups))


_STUDENT_SEED = 20_604_106
_FEWEST_GROUPS = 20
_DOUBTFUL_ERROR = 0.07
