"""Choices on validation: the score, the candidates, and the number of steps that a set gets."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from omnidistill.distill import DistilledSet, Verdict
from omnidistill.evaluation.choosing import _JUDGE_SEED, judge_set, mean_score, run_of, step_choices, validation_score
from omnidistill.heads import Heads
from small_runs import Loop, features, small_config, small_heads


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    return Loop.make(tmp_path_factory.mktemp("experts"))


@pytest.fixture(scope="module")
def distilled(loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> DistilledSet:
    made = loop.distill(tmp_path_factory.mktemp("run"), small_config("distill.iterations=3")).distilled
    recipe = dataclasses.replace(made.recipe, batch_size=4, step_sizes=(0.5, 0.5, 0.5))
    return dataclasses.replace(made, recipe=recipe)


def plain_score(heads: Heads) -> float:
    """Cosines and counting in numpy; a hit is a row of the query's group among the K nearest."""
    validation = features().split("validation")
    groups = np.array(validation.groups)
    embeddings = {}
    for name, matrix in heads.items():
        outputs = validation.features[name].double().numpy() @ matrix.double().numpy().T
        embeddings[name] = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
    found = []
    for query, gallery in itertools.permutations(heads, 2):
        order = np.argsort(-(embeddings[query] @ embeddings[gallery].T), axis=1)
        positive = groups[order] == groups[:, None]
        found += [positive[:, :k].any(1).mean() for k in (1, 5, 10)]
    return float(np.mean(found))


def test_the_score_is_the_mean_of_three_recalls_over_all_directions() -> None:
    validation = features().split("validation")
    for seed in range(3):
        heads = small_heads(features(), seed=seed)
        assert validation_score(heads, validation) == pytest.approx(plain_score(heads), abs=1e-9)


def test_the_mean_score_is_that_of_each_run() -> None:
    validation = features().split("validation")
    runs = [small_heads(features(), seed=seed) for seed in range(3)]
    stacked = {name: torch.stack([heads[name] for heads in runs]) for name in runs[0]}
    assert all(torch.equal(run_of(stacked, 1)[name], runs[1][name]) for name in stacked)
    assert mean_score(stacked, validation) == pytest.approx(np.mean([plain_score(heads) for heads in runs]))


def test_step_choices_are_multiples_from_the_matched_number_on() -> None:
    steps = step_choices(4)
    assert steps[0] == 4
    assert steps[-1] == 64
    assert steps == sorted(set(steps))
    assert all(count % 4 == 0 for count in steps)


def test_a_set_gets_the_number_of_steps_that_validates_best(distilled: DistilledSet, loop: Loop) -> None:
    """Each candidate trained from the start on its own; the first of equals."""
    verdict = judge_set(distilled, loop.start, features().split("validation"), num_runs=3)
    scores = {}
    for steps in step_choices(4):
        seeds = judged_students(distilled, loop, steps)
        scores[steps] = np.mean([plain_score(heads) for heads in seeds])
    assert verdict.score == pytest.approx(max(scores.values()), abs=1e-6)
    assert scores[verdict.num_steps] == pytest.approx(max(scores.values()), abs=1e-6)
    assert max(scores.values()) > min(scores.values()) + 0.01


def judged_students(distilled: DistilledSet, loop: Loop, steps: int) -> list[Heads]:
    longer = distilled.with_steps(steps)
    ((_, heads),) = longer.students(loop.start, seed=_JUDGE_SEED, num_runs=3)
    return [run_of(heads, run) for run in range(3)]


def test_judging_is_repeatable_and_leaves_the_set_alone(distilled: DistilledSet, loop: Loop) -> None:
    before = {name: tensor.clone() for name, tensor in distilled.tensors.items()}
    validation = features().split("validation")
    assert judge_set(distilled, loop.start, validation) == judge_set(distilled, loop.start, validation)
    assert all(torch.equal(distilled.tensors[name], tensor) for name, tensor in before.items())


def test_steps_after_the_students_diverged_are_not_chosen(distilled: DistilledSet, loop: Loop) -> None:
    """Step sizes at which students soon overflow: the verdict is of the steps before, or none at all."""
    validation = features().split("validation")
    for size in (math.inf, 3e38):
        recipe = dataclasses.replace(distilled.recipe, step_sizes=(size,) * 3)
        verdict = judge_set(dataclasses.replace(distilled, recipe=recipe), loop.start, validation)
        assert math.isfinite(verdict.score)
        assert (verdict.num_steps == 0) == (verdict.score == -1)


def test_a_run_whose_students_always_diverge_keeps_a_set(loop: Loop, tmp_path: Path) -> None:
    """No verdict is better than none: the number of steps is then the matched one."""
    config = small_config("distill.iterations=2", "distill.validate_every=1")
    made = loop.distill(tmp_path, config, judge=lambda distilled: Verdict(-1.0, 0)).distilled
    assert made.recipe.num_steps == 4
