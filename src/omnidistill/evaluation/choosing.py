"""Choices, made on the validation split and nowhere else: a score of heads, and the number of training steps of a
set.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.distill import DistilledSet, Verdict
from omnidistill.evaluation.retrieval import mean_recall, ranks_by_direction
from omnidistill.features.featureset import FeatureSet
from omnidistill.heads import Heads, embed


def validation_score(heads: Heads, validation: FeatureSet) -> float:
    """Mean of R@1, R@5 and R@10 over all directions, in [0, 1]."""
    recall = mean_recall(ranks_by_direction(embed(heads, validation.features), validation.group_codes))
    return sum(recall.values()) / len(recall)


def mean_score(heads: Mapping[str, Float[Tensor, "_ _ _"]], validation: FeatureSet) -> float:
    """Mean validation score of stacked runs."""
    num_runs = len(next(iter(heads.values())))
    return sum(validation_score(run_of(heads, run), validation) for run in range(num_runs)) / num_runs


def run_of(heads: Mapping[str, Float[Tensor, "_ _ _"]], run: int) -> Heads:
    """Heads of one run."""
    return {name: matrix[run] for name, matrix in heads.items()}


def step_choices(num_student_steps: int) -> list[int]:
    """Numbers of training steps that validation may choose from: 1 to 16 times the matched number."""
    return [num_student_steps * factor for factor in (1, 2, 3, 4, 6, 8, 12, 16)]


def judge_set(distilled: DistilledSet, start: Heads, validation: FeatureSet, num_runs: int = 2) -> Verdict:
    """Train students on the set from `start` and take the number of steps that validates best.

    The students' batch orders are a fixed stream of their own, so judging changes nothing else.
    """
    best = Verdict(-1.0, 0)
    steps = step_choices(distilled.config.distill.num_student_steps)
    for num_steps, heads in distilled.students(start, seed=_JUDGE_SEED, num_runs=num_runs, checkpoints=steps):
        if not all(bool(torch.isfinite(matrix).all()) for matrix in heads.values()):
            break
        score = mean_score(heads, validation)
        if score > best.score:
            best = Verdict(score, num_steps)
    return best


_JUDGE_SEED = 20_604_106
