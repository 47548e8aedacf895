"""Choices on validation: the score, the candidates, and the number of steps of a set."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from method_problems import score_by_hand
from omnidistill.core.errors import NotFiniteError
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet, ValidationResult
from omnidistill.evaluation import validation as choosing
from omnidistill.evaluation.paper_protocol import sgd_recipe
from omnidistill.evaluation.validation import (
    _STUDENT_SEED,
    can_choose,
    choose_recipe,
    doubling_steps,
    doubt,
    largest_error,
    mean_score,
    run_of,
    step_choices,
    validate_set,
    validation_score,
)
from omnidistill.models.heads import Heads
from small_runs import Loop, features, small_config, small_heads

MATCHED = 4
"""Student steps of the preset "smoke"."""
TOO_LARGE = 1e300
"""A step size that is infinite in float32."""


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    return Loop.make(tmp_path_factory.mktemp("experts"))


@pytest.fixture(scope="module")
def distilled(loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> DistilledSet:
    made = loop.distill(tmp_path_factory.mktemp("run"), small_config("distill.iterations=3")).distilled
    return made.with_recipe(made.recipe.evolve(batch_size=4, step_sizes=(0.5, 0.5, 0.5)))


def plain_score(heads: Heads) -> float:
    """The validation score, by hand."""
    return score_by_hand(heads, features().split("validation"))


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


def test_step_choices_reach_from_half_the_matched_number_to_many_times_it() -> None:
    assert step_choices(64)[:5] == [32, 48, 64, 96, 128]
    for matched in (1, 2, 4, 7):
        steps = step_choices(matched)
        assert {matched, 16 * matched} <= set(steps)
        assert steps[0] == -(-matched // 2)
        assert steps == sorted(set(steps))


def test_a_set_gets_the_number_of_steps_that_validates_best(distilled: DistilledSet, loop: Loop) -> None:
    """Each candidate trained from the start on its own; the first of equals, until three in a row are no better."""
    result = validate_set(distilled, loop.start, features().split("validation"), MATCHED, num_runs=3)
    scores = {}
    for steps in step_choices(MATCHED):
        seeds = validated_students(distilled, loop, steps)
        scores[steps] = np.mean([plain_score(heads) for heads in seeds])
        if len(scores) - 1 - int(np.argmax(list(scores.values()))) == 3:
            break
    assert result.score == pytest.approx(max(scores.values()), abs=1e-6)
    assert scores[result.num_steps] == pytest.approx(max(scores.values()), abs=1e-6)
    assert max(scores.values()) > min(scores.values()) + 0.01


def validated_students(distilled: DistilledSet, loop: Loop, steps: int) -> list[Heads]:
    longer = distilled.with_steps(steps)
    ((_, heads),) = longer.students(loop.start, seed=_STUDENT_SEED, num_runs=3)
    return [run_of(heads, run) for run in range(3)]


def test_judging_is_repeatable_and_leaves_the_set_alone(distilled: DistilledSet, loop: Loop) -> None:
    before = {name: tensor.clone() for name, tensor in distilled.tensors.items()}
    validation = features().split("validation")
    assert validate_set(distilled, loop.start, validation, MATCHED) == validate_set(
        distilled, loop.start, validation, MATCHED
    )
    assert all(torch.equal(distilled.tensors[name], tensor) for name, tensor in before.items())


def test_steps_after_the_students_diverged_are_not_chosen(distilled: DistilledSet, loop: Loop) -> None:
    """Step sizes at which students soon overflow: the result is of the steps before, or none at all."""
    validation = features().split("validation")
    for size in (TOO_LARGE, 3e38):
        wild = distilled.with_recipe(distilled.recipe.evolve(step_sizes=(size,) * 3))
        result = validate_set(wild, loop.start, validation, MATCHED)
        assert math.isfinite(result.score)
        assert (result.num_steps == 0) == (result.score == -1)


def test_a_run_whose_students_always_diverge_keeps_a_set(loop: Loop, tmp_path: Path) -> None:
    """Without a finite score, the set keeps the matched number of steps."""
    config = small_config("distill.iterations=2", "distill.validate_every=1")
    made = loop.distill(tmp_path, config, validate=lambda distilled: ValidationResult(-1.0, 0)).distilled
    assert made.recipe.num_steps == MATCHED


# how large the split is


def validation_of(groups: int, positives: int = 2) -> FeatureSet:
    return features(2, {"train": 4, "validation": groups * positives}, positives).split("validation")


def test_no_score_has_a_larger_error_than_that_of_a_coin() -> None:
    """Groups that hit or miss altogether, half of them each on average: the spread of their mean, simulated."""
    draws = np.random.default_rng(0).integers(0, 2, (20_000, 30)).mean(1)
    assert largest_error(validation_of(30)) == pytest.approx(draws.std(), rel=0.02)


@pytest.mark.parametrize(("groups", "chooses"), [(19, False), (20, True), (50, True)])
def test_groups_say_whether_a_split_is_large_enough(groups: int, chooses: bool) -> None:
    for positives in (1, 3):
        validation = validation_of(groups, positives)
        assert can_choose(validation) == chooses
        assert f"{groups} groups ({groups * positives} rows)" in str(doubt(validation))
    assert "11 points" in str(doubt(validation_of(20)))
    assert doubt(validation_of(52)) is None


# the recipe of a set that has none


def test_steps_double_from_eight_to_the_longest() -> None:
    assert doubling_steps(64) == [8, 16, 32, 64]
    assert doubling_steps(63) == [8, 16, 32]
    assert doubling_steps(8) == [8]
    assert doubling_steps(5) == [5]


def scripted(
    monkeypatch: pytest.MonkeyPatch, distilled: DistilledSet, loop: Loop, scores: Sequence[float], steps: int = 6
) -> tuple[tuple[float, int], float, int]:
    """Return ((rate, steps), score, num_evaluated) of the recipe chosen for these scores, in the order of the rates."""
    left = iter(scores)
    monkeypatch.setattr(choosing, "mean_score", lambda heads, validation: next(left))
    validation, rates = features().split("validation"), (0.1, 0.2)
    choice = choose_recipe(distilled, loop.start, validation, rates, range(1, steps + 1))
    assert next(left, None) is None
    recipe = sgd_recipe(choice.distilled)
    assert len(set(recipe.step_sizes)) == 1
    return (recipe.step_sizes[0], recipe.num_steps), choice.score, choice.num_evaluated


@pytest.mark.parametrize(
    ("first", "second", "chosen"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.5, 0.6, 0.7, 0.1, 0.2, 0.3], (0.2, 3)),
        ([0.5, 0.4, 0.4, 0.4], [0.3, 0.2, 0.1, 0.0], (0.1, 1)),  # given up: the fifth may be anything
        ([0.5, 0.4, 0.4, 0.6, 0.5, 0.5], [0.3, 0.3, 0.3, 0.3], (0.1, 4)),  # two falls are none; no rise is a fall
        ([0.5, 0.4, 0.3, 0.2], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], (0.2, 6)),  # each rate has its own peak
        ([0.5, 0.4, 0.3, 0.2], [0.5, 0.4, 0.3, 0.2], (0.1, 1)),  # the first of equals
    ],
)
def test_a_rate_is_given_up_after_three_candidates_without_a_rise(
    first: list[float],
    second: list[float],
    chosen: tuple[float, int],
    distilled: DistilledSet,
    loop: Loop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, score, num_evaluated = scripted(monkeypatch, distilled, loop, [*first, *second])
    assert (found, score, num_evaluated) == (chosen, max(*first, *second), len(first) + len(second))


def test_the_recipe_is_the_best_of_all_trained_one_by_one(distilled: DistilledSet, loop: Loop) -> None:
    validation, rates, steps = features().split("validation"), (0.02, 0.5, 4.0), [4, 8, 16]
    choice = choose_recipe(distilled, loop.start, validation, rates, steps, num_runs=3)
    scores = {}
    for rate, num_steps in itertools.product(rates, steps):
        candidate = distilled.with_recipe(distilled.recipe.evolve(step_sizes=(rate,) * 3))
        seeds = validated_students(candidate, loop, num_steps)
        scores[rate, num_steps] = np.mean([plain_score(heads) for heads in seeds])
    best = sgd_recipe(choice.distilled).step_sizes[0], choice.distilled.recipe.num_steps
    assert choice.num_evaluated == 9
    assert scores[best] == pytest.approx(max(scores.values()), abs=1e-9) == choice.score
    assert max(scores.values()) > min(scores.values()) + 0.01
    assert all(torch.equal(choice.distilled.tensors[name], tensor) for name, tensor in distilled.tensors.items())


def test_a_step_size_at_which_students_diverge_is_not_chosen(distilled: DistilledSet, loop: Loop) -> None:
    """What it scored before it diverged counts; where every rate diverges at once there is no recipe."""
    validation = features().split("validation")
    choice = choose_recipe(distilled, loop.start, validation, (TOO_LARGE, 0.5), [4, 8])
    assert sgd_recipe(choice.distilled).step_sizes == (0.5,) * 3
    assert choice.num_evaluated == 2
    with pytest.raises(
        NotFiniteError, match=r"diverge at every step size \(1e\+300, 1e\+300\).*smaller distill.learning_rates"
    ):
        choose_recipe(distilled, loop.start, validation, (TOO_LARGE, TOO_LARGE), [4, 8])


@pytest.mark.parametrize("matched", [1, 3])
def test_candidates_follow_from_the_matched_number_of_steps(
    matched: int, distilled: DistilledSet, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where scores rise, every candidate is tried, up to 16 times the number, whatever the recipe of the set says."""
    scores = iter(range(1, 100))
    monkeypatch.setattr(choosing, "mean_score", lambda *_: next(scores) / 100)
    result = validate_set(distilled, loop.start, features().split("validation"), matched)
    assert (result.num_steps, result.num_evaluated) == (16 * matched, len(step_choices(matched)))


def test_longer_trainings_are_not_tried_after_three_without_improvement(
    distilled: DistilledSet, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores rise at the second number of steps and then never again: five are evaluated, whatever follows."""
    scores = iter([0.2, 0.4, 0.3, 0.4, 0.1, 0.9])
    monkeypatch.setattr(choosing, "mean_score", lambda *_: next(scores))
    result = validate_set(distilled, loop.start, features().split("validation"), MATCHED)
    assert (result.score, result.num_steps, result.num_evaluated) == (0.4, step_choices(MATCHED)[1], 5)


def test_one_student_is_enough_where_the_recipe_names_its_batches(
    distilled: DistilledSet, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = distilled.with_recipe(distilled.recipe.evolve(order=3))
    runs = []
    monkeypatch.setattr(choosing, "mean_score", lambda heads, _: runs.append(len(heads["a"])) or 0.5)
    validate_set(named, loop.start, features().split("validation"), MATCHED, num_runs=4)
    assert set(runs) == {1}
