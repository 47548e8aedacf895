"""The row of a set in a table: students trained by the recipe of the set."""

from __future__ import annotations

import pytest
import torch

from omnidistill.distillation import DistilledSet
from omnidistill.evaluation.distilled_row import train_on_sets
from omnidistill.evaluation.paper_protocol import sgd_recipe
from omnidistill.evaluation.protocol import EvaluateConfig
from small_runs import Loop, small_config

CONFIG = EvaluateConfig(num_seeds=3)


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    return Loop.make(tmp_path_factory.mktemp("experts"))


@pytest.fixture(scope="module")
def distilled(loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> DistilledSet:
    return loop.distill(tmp_path_factory.mktemp("run"), small_config("distill.iterations=3")).distilled


def test_heads_are_those_of_the_recipe(distilled: DistilledSet, loop: Loop) -> None:
    row = train_on_sets([distilled], loop.start, CONFIG, 5)
    _, heads = next(distilled.students(loop.start, seed=5, num_runs=3))
    assert all(torch.equal(row.heads[name], heads[name]) for name in heads)
    assert row.bytes == distilled.bytes
    assert row.label == "smoke, 10 rows"
    assert row.settings == {
        "num_steps": distilled.recipe.num_steps,
        "step_sizes": list(sgd_recipe(distilled).step_sizes),
    }


def test_several_sets_give_one_part_each(distilled: DistilledSet, loop: Loop) -> None:
    """Bytes are summed, and the settings list those of every set."""
    row = train_on_sets([distilled, distilled.with_steps(2)], loop.start, CONFIG, 5)
    assert [part.keys() for part in row.parts] == [loop.start.keys()] * 2
    assert not torch.equal(row.parts[0]["a"], row.parts[1]["a"])
    assert row.bytes == 2 * distilled.bytes
    assert row.settings["num_steps"] == [distilled.recipe.num_steps, 2]
    assert row.settings["step_sizes"] == [list(sgd_recipe(distilled).step_sizes)] * 2
