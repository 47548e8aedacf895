"""The recipe of a set that is not learned: every step size and number of steps is tried again here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from method_problems import score_by_hand, task_of, tiny
from omnidistill.core.streams import Streams
from omnidistill.distillation import DistilledSet
from omnidistill.evaluation.paper_protocol import sgd_recipe
from omnidistill.evaluation.validation import _STUDENT_SEED, doubling_steps, run_of
from omnidistill.methods import Task
from omnidistill.training.closed_form import accumulate_moments, apm_rows

RATES = (1e-7, 0.3, 3.0)  # the first moves nothing, so it is given up


def scores(made: DistilledSet, task: Task, rate: float, steps: list[int]) -> Iterator[float]:
    """Mean validation score of two students, trained from the start for each number of steps on its own."""
    for num_steps in steps:
        recipe = made.recipe.evolve(step_sizes=(rate,) * len(made.modalities), num_steps=num_steps)
        students = made.with_recipe(recipe).students(task.start, seed=_STUDENT_SEED, num_runs=2)
        _, heads = next(students)
        yield float(np.mean([score_by_hand(run_of(heads, run), task.development.validation) for run in range(2)]))


def tried(made: DistilledSet, task: Task, steps: list[int]) -> dict[tuple[float, int], float]:
    """Scores by (rate, steps), a rate given up once three numbers of steps in a row were no better than its best."""
    found: dict[tuple[float, int], float] = {}
    for rate in RATES:
        best, since = -1.0, 0
        for num_steps, score in zip(steps, scores(made, task, rate, steps), strict=True):
            found[rate, num_steps] = score
            best, since = (score, 0) if score > best else (best, since + 1)
            if since == 3:
                break
    return found


def settings(*more: str) -> tuple[str, ...]:
    return (f"distill.learning_rates={list(RATES)}", "distill.size=12", *more)


@pytest.mark.parametrize("longest", [64, 128])
def test_the_recipe_that_validates_best_is_the_result(longest: int, tmp_path: Path) -> None:
    """All of four numbers of steps, or those up to where a rate is given up."""
    config = tiny("random", *settings(f"distill.max_steps={longest}"))
    task = task_of(tmp_path, config)
    result = config.distill.run(task)
    made = result.distilled
    steps = doubling_steps(longest)
    found = tried(made, task, steps)
    assert (len(found) < len(RATES) * len(steps)) == (longest == 128)
    recipe = sgd_recipe(made)
    assert len(set(recipe.step_sizes)) == 1
    assert found[recipe.step_sizes[0], recipe.num_steps] == pytest.approx(max(found.values()), abs=1e-9)
    assert max(found.values()) > np.mean(list(found.values())) + 0.01
    assert recipe.batch_size == config.distill.batch == 12
    (record,) = result.records
    assert record.values.keys() == {"validation", "judged", "seconds"}
    assert record.notes  # twenty groups are few to choose by
    assert record.values["judged"] == len(found)
    assert record.values["validation"] == made.provenance.validation == pytest.approx(max(found.values()), abs=1e-9)


@pytest.mark.parametrize("ridges", [(0.01, 30.0), (30.0, 0.01)])
def test_the_best_candidate_is_the_result(ridges: tuple[float, float], tmp_path: Path) -> None:
    """A set for every ridge, each with recipes of its own: the best of all, wherever it stands."""
    config = tiny("apm", *settings("distill.max_steps=64", f"distill.ridges={list(ridges)}"))
    task = task_of(tmp_path, config)
    result = config.distill.run(task)
    made = result.distilled
    moments, steps = accumulate_moments(task.development.train), doubling_steps(64)
    candidates, found = {}, {}
    for ridge in ridges:
        rows = apm_rows(moments, 12, ridge, "random", Streams(0)["rotation"])
        candidates[ridge] = replace(made, tensors={f"rows/{name}": x for name, x in rows.items()})
        found[ridge] = tried(candidates[ridge], task, steps)
    best = max(ridges, key=lambda ridge: max(found[ridge].values()))
    assert max(found[best].values()) > max(max(found[ridge].values()) for ridge in ridges if ridge != best) + 0.01
    assert all(torch.equal(made.tensors[name], x) for name, x in candidates[best].tensors.items())
    assert found[best][sgd_recipe(made).step_sizes[0], made.recipe.num_steps] == pytest.approx(
        max(found[best].values())
    )
    assert result.records[0].values["judged"] == sum(len(each) for each in found.values())
