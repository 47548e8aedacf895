"""The method "learn" where the data give little: a small validation split, and nothing to gain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from method_problems import task_of, tiny
from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.data.planted import planted
from omnidistill.distillation import Distillation
from omnidistill.experiments.config import RunConfig, load_config, preset_names
from small_runs import ROWS, NoteRecorder, features, records


def made(folder: Path, config: RunConfig, data: FeatureSet) -> tuple[Distillation, list[str]]:
    """Return the set of the method, and the notes that it showed."""
    told = NoteRecorder()
    made = config.distill.run(replace(task_of(folder, config, data), progress=told))
    assert list(made.distilled.provenance.notes) == told.notes
    return made, told.notes


# a small validation split

OUTERS = {"trajectory": "hopa", "task": "hopa distill.outer.kind=task distill.outer.rows=20"}


def of_groups(groups: int) -> FeatureSet:
    return features(3, {**ROWS, "validation": 2 * groups})


@pytest.mark.parametrize("outer", OUTERS)
def test_below_twenty_groups_the_last_set_is_the_result(outer: str, tmp_path: Path) -> None:
    """It has the matched number of steps, as if there were no validation; one note says so."""
    settings = (*OUTERS[outer].split(), "distill.iterations=4", "distill.num_student_steps=3")
    small, notes = made(tmp_path / "small", tiny(*settings, "distill.validate_every=1"), of_groups(19))
    (line,) = notes
    assert "19 groups (38 rows)" in line
    assert "11 points; the last set is the result, with the 3 steps used for learning it" in line
    found = records(tmp_path / "small")
    assert [record.get("notes") for record in found] == [[line], None, None, None, None]
    assert not any("validation" in record for record in found)
    unseen, silence = made(tmp_path / "unseen", tiny(*settings, "distill.validate_every=0"), of_groups(19))
    assert silence == []
    assert small.distilled.provenance.iteration == 4
    assert small.distilled.recipe == unseen.distilled.recipe
    assert small.distilled.recipe.num_steps == 3
    assert all(torch.equal(unseen.distilled.tensors[name], x) for name, x in small.distilled.tensors.items())


@pytest.mark.parametrize(("groups", "told"), [(20, True), (52, False)])
@pytest.mark.parametrize("outer", OUTERS)
def test_from_twenty_groups_on_the_best_set_is_the_result(outer: str, groups: int, told: bool, tmp_path: Path) -> None:
    settings = (*OUTERS[outer].split(), "distill.iterations=4", "distill.validate_every=1")
    best, notes = made(tmp_path, tiny(*settings), of_groups(groups))
    verdicts = [record["validation"] for record in records(tmp_path)]
    assert best.distilled.provenance.validation == max(verdicts)
    assert [f"{groups} groups" in line and "luckiest" in line for line in notes] == [True] * told


@pytest.mark.parametrize("preset", ["random", "covmatch"])
def test_a_recipe_is_chosen_on_a_small_split_all_the_same(preset: str, tmp_path: Path) -> None:
    chosen, notes = made(tmp_path / "small", tiny(preset), of_groups(12))
    assert chosen.distilled.provenance.validation is not None
    (line,) = notes
    assert "12 groups (24 rows)" in line
    assert chosen.records[0].notes == (line,)
    large, none = made(tmp_path / "large", tiny(preset), of_groups(52))
    assert none == []
    assert large.records[0].notes == ()


# nothing to gain

LEARNING = (
    "distill.size=20",
    "distill.iterations=12",
    "distill.validate_every=4",
    "distill.num_student_steps=4",
    "distill.batch_size=12",
    "distill.initial_step_size=1.0",
    "distill.student.kind=infonce",
)
EXPERTS = ("experts.objective.kind=infonce", "experts.batch_size=32", "experts.learning_rate=1.0")


def pairs(seed: int, shuffled: bool) -> FeatureSet:
    widths, rows = {"a": 16, "b": 18, "c": 20}, {"train": 240, "validation": 480}
    return prepare(planted(widths, rows, latent=8, noise=1.0, seed=seed, shuffle_pairs=shuffled))


def trajectory() -> RunConfig:
    return tiny("hopa", *LEARNING, *EXPERTS)


def by_task() -> RunConfig:
    return tiny("hopa", "distill.outer.kind=task", "distill.outer.rows=64", *LEARNING)


@pytest.mark.parametrize("seed", [0, 1])
def test_experts_that_gain_nothing_are_not_matched(seed: int, tmp_path: Path) -> None:
    """With shuffled pairs the result is the initial set of real rows, and a note says why."""
    ended, (line,) = made(tmp_path, trajectory(), pairs(seed, True))
    assert line.startswith("nothing to gain: training on all rows (2 experts)")
    assert ended.distilled.provenance.iteration == 0
    (record,) = records(tmp_path)
    assert record["notes"] == [line]
    assert record["validation"] == ended.distilled.provenance.validation


def test_published_settings_have_a_fixed_number_of_iterations(tmp_path: Path) -> None:
    config = tiny("hopa", *LEARNING, *EXPERTS, "distill.stop_without_gain=false")
    _, notes = made(tmp_path, config, pairs(0, True))
    assert notes == []
    assert records(tmp_path)[-1]["iteration"] == config.distill.iterations  # type: ignore[union-attr]
    for name in preset_names():
        if name.startswith("paper/"):
            published = load_config(preset=name).distill
            assert (published.stop_without_gain, published.patience) == (False, 0), name  # type: ignore[union-attr]


@pytest.mark.parametrize("seed", [0, 1])
def test_students_that_gain_nothing_end_it_after_a_third(seed: int, tmp_path: Path) -> None:
    ended, (line,) = made(tmp_path, by_task(), pairs(seed, True))
    assert line.startswith("nothing to gain: students of the best set so far change the validation score by ")
    found = records(tmp_path)
    assert found[-1]["notes"] == [line]
    assert 4 <= found[-1]["iteration"] < 12
    verdicts = {record["iteration"]: record["validation"] for record in found if "validation" in record}
    assert verdicts[ended.distilled.provenance.iteration] == max(verdicts.values())


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", [trajectory, by_task])
def test_where_there_is_gain_all_iterations_run(kind: Any, seed: int, tmp_path: Path) -> None:
    assert made(tmp_path, kind(), pairs(seed, False))[1] == []
    assert records(tmp_path)[-1]["iteration"] == 12
