"""Choices, made on the validation split and nowhere else: a score of heads, the number of training steps of a set, the
recipe of a set that has none; and whether the split is large enough to choose by.

Rows of one group stand and fall together, so the score of G groups of one size, each between 0 and 1, has a standard
error of at most 1 / (2 sqrt(G)): 7 points at 51 groups, below which choices are doubtful, and 11 at 20, more than a set
usually gains.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import NotFiniteError
from omnidistill.data.featureset import FeatureSet
from omnidistill.distill import DistilledSet, Verdict
from omnidistill.evaluation.retrieval import mean_recall, ranks_by_direction
from omnidistill.models.heads import Heads, embed


def validation_score(
    heads: Heads, validation: FeatureSet, bias: Mapping[str, Float[Tensor, " _"]] | None = None
) -> float:
    """Mean of R@1, R@5 and R@10 over all directions, in [0, 1]."""
    recall = mean_recall(ranks_by_direction(embed(heads, validation.features, bias), validation.group_codes))
    return sum(recall.values()) / len(recall)


def largest_error(validation: FeatureSet) -> float:
    """The largest standard error that a validation score can have, 1 / (2 sqrt(G)) for G groups; 0.05 is 5 points."""
    return 0.5 / math.sqrt(_num_groups(validation))


def can_choose(validation: FeatureSet) -> bool:
    """Whether the best of many sets by this split is more than the luckiest: at least 20 groups."""
    return _num_groups(validation) >= _FEWEST_GROUPS


def doubt(validation: FeatureSet) -> str | None:
    """A line on a split that is too small to choose by with confidence (fewer than 51 groups); None for others."""
    error = largest_error(validation)
    if error <= _DOUBTFUL_ERROR:
        return None
    groups = f"{_num_groups(validation)} groups ({len(validation)} rows)"
    return f"small validation split: with {groups} the standard error of a score may be {100 * error:.0f} points"


def mean_score(heads: Mapping[str, Float[Tensor, "_ _ _"]], validation: FeatureSet) -> float:
    """Mean validation score of stacked runs."""
    num_runs = len(next(iter(heads.values())))
    return sum(validation_score(run_of(heads, run), validation) for run in range(num_runs)) / num_runs


def run_of(heads: Mapping[str, Float[Tensor, "_ _ _"]], run: int) -> Heads:
    """Heads of one run."""
    return {name: matrix[run] for name, matrix in heads.items()}


def step_choices(num_student_steps: int) -> list[int]:
    """Numbers of training steps that validation may choose from: half to 16 times the matched number."""
    factors = (0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16)
    return sorted({math.ceil(num_student_steps * factor) for factor in factors})


def doubling_steps(longest: int) -> list[int]:
    """8, 16, 32, ... up to `longest`; `longest` alone where it is smaller."""
    steps = [8]
    while 2 * steps[-1] <= longest:
        steps.append(2 * steps[-1])
    return steps if longest >= 8 else [longest]


@dataclass(frozen=True)
class Choice:
    """A set with the recipe that validated best, its score, and how many recipes were judged."""

    distilled: DistilledSet
    score: float
    judged: int


def choose_recipe(
    distilled: DistilledSet,
    start: Heads,
    validation: FeatureSet,
    learning_rates: Sequence[float],
    steps: Sequence[int],
    num_runs: int = 2,
) -> Choice:
    """One step size for all modalities and a number of steps (ascending candidates), by mean validation score.

    A step size is given up when its score has not risen at three candidates in a row, or training diverged.

    Raises NotFiniteError where training diverges at every step size.
    """
    best, best_score, judged = distilled, -1.0, 0
    for rate in learning_rates:
        rates = (rate,) * len(distilled.modalities)
        candidate = distilled.with_recipe(distilled.recipe.evolve(step_sizes=rates))
        peak, since = -1.0, 0
        for num_steps, heads in judged_students(candidate, start, steps, num_runs):
            score, judged = mean_score(heads, validation), judged + 1
            peak, since = (score, 0) if score > peak else (peak, since + 1)
            if score > best_score:
                best, best_score = candidate.with_steps(num_steps), score
            if since == 3:
                break
    if not judged:
        raise NotFiniteError(
            f"students diverge at every step size ({', '.join(f'{rate:g}' for rate in learning_rates)}); "
            "give smaller distill.learning_rates"
        )
    return Choice(best, best_score, judged)


def judged_students(
    distilled: DistilledSet, start: Heads, steps: Sequence[int], num_runs: int = 2
) -> Iterator[tuple[int, dict[str, Float[Tensor, "_ _ _"]]]]:
    """Students (steps, heads R x d x p_m) of a set as choices see them, up to where training diverges.

    Their batch orders are a fixed stream of their own, so judging changes nothing else.
    """
    for num_steps, heads in distilled.students(start, seed=_JUDGE_SEED, num_runs=num_runs, checkpoints=steps):
        if not all(bool(torch.isfinite(matrix).all()) for matrix in heads.values()):
            return
        yield num_steps, heads


def judge_set(
    distilled: DistilledSet, start: Heads, validation: FeatureSet, num_student_steps: int, num_runs: int = 2
) -> Verdict:
    """Train students on the set from `start` and return the number of steps that validates best.

    Candidates are half to 16 times `num_student_steps`, the number that the set was learned with; no longer trainings
    are tried when three in a row have not risen above the best. Where the recipe names the batches, one student is
    enough.
    """
    best, since, judged = Verdict(-1.0, 0), 0, 0
    steps = step_choices(num_student_steps)
    num_runs = 1 if getattr(distilled.recipe, "order", None) is not None else num_runs
    for num_steps, heads in judged_students(distilled, start, steps, num_runs):
        score, since, judged = mean_score(heads, validation), since + 1, judged + 1
        if score > best.score:
            best, since = Verdict(score, num_steps), 0
        if since == 3:
            break
    return replace(best, judged=judged)


def _num_groups(validation: FeatureSet) -> int:
    return len(set(validation.groups))


_JUDGE_SEED = 20_604_106
_FEWEST_GROUPS = 20
_DOUBTFUL_ERROR = 0.07
