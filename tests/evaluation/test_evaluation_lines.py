"""The lines of a table: what each trains, against plain computations; what is chosen, and from what."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable

import pytest
import torch
from omnidistill.evaluation.equal_bytes import equal_bytes_line
from omnidistill.evaluation.line import Line
from omnidistill.evaluation.lines import (
    cca_line,
    distilled_line,
    full_line,
    random_line,
    zero_shot_line,
)
from omnidistill.evaluation.low_rank import low_rank_line

from omnidistill.data.featureset import Development
from omnidistill.distill import DistilledSet
from omnidistill.evaluation import lines
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.validation import run_of, step_choices, validation_score
from omnidistill.models.heads import Heads
from omnidistill.models.objectives import Hopa, InfoNCE
from omnidistill.training.experts.epochs import stack_runs, train_epochs
from small_runs import Loop, features, small_config, small_heads

CONFIG = EvaluateConfig(num_seeds=3, max_epochs=4, learning_rates=(0.05, 0.5, 2.0), batch_size=24)


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    return Loop.make(tmp_path_factory.mktemp("experts"))


@pytest.fixture(scope="module")
def distilled(loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> DistilledSet:
    return loop.distill(tmp_path_factory.mktemp("run"), small_config("distill.iterations=3")).distilled


@pytest.fixture(scope="module")
def full() -> Line:
    return full_line(InfoNCE(), "all rows", small_heads(features()), features().development(), CONFIG, 0)


def test_zero_shot_is_the_start() -> None:
    start = small_heads(features())
    line = zero_shot_line(start)
    assert all(torch.equal(line.heads[name], start[name][None]) for name in start)
    assert line.bytes == 0


# all rows


def test_the_full_line_trains_with_what_validated_best(full: Line) -> None:
    """Every rate and epoch tried again by hand; then fresh runs with the best."""
    data, start = features().development(), small_heads(features())
    scores = {}
    for rate in CONFIG.learning_rates:
        heads = stack_runs(start, 1)
        for epoch in train_epochs(
            InfoNCE(),
            heads,
            data.train,
            torch.tensor([rate]),
            batch_size=24,
            num_epochs=4,
            seed=0,
            purpose="full/tune",
        ):
            scores[rate, epoch] = validation_score(run_of(heads, 0), data.validation)
    chosen = full.settings["learning_rate"], full.settings["num_epochs"]
    assert scores[chosen] == max(scores.values())
    assert len(set(scores.values())) > 3
    heads = stack_runs(start, 3)
    rates = torch.full((3,), chosen[0])
    for _ in train_epochs(
        InfoNCE(), heads, data.train, rates, batch_size=24, num_epochs=chosen[1], seed=0, purpose="full"
    ):
        pass
    assert all(torch.equal(heads[name], full.heads[name]) for name in heads)
    assert not torch.equal(full.heads["a"][0], full.heads["a"][1])
    assert full.bytes == 4 * 64 * sum(data.train.widths.values())


# heads of equal bytes


# the set, and random rows


def test_the_distilled_line_is_the_recipe(distilled: DistilledSet, loop: Loop) -> None:
    line = distilled_line([distilled], loop.start, CONFIG, 5)
    _, heads = next(distilled.students(loop.start, seed=5, num_runs=3))
    assert all(torch.equal(line.heads[name], heads[name]) for name in heads)
    assert line.bytes == distilled.bytes
    assert line.settings == {
        "num_steps": distilled.recipe.num_steps,
        "step_sizes": list(distilled.recipe.step_sizes),
    }


def ten_random_rows(data: Development, start: Heads) -> Line:
    return random_line(Hopa(), 10, start, data, CONFIG, 0, batch_size=10, steps=step_choices(4))


def test_random_rows_are_real_training_rows_other_ones_in_every_run(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[str, ...]] = []
    pick = lines.random_rows

    def remember(*arguments: object) -> object:
        rows = pick(*arguments)  # type: ignore[arg-type]
        drawn.append(rows.ids)
        return rows

    monkeypatch.setattr(lines, "random_rows", remember)
    data = features().development()
    line = ten_random_rows(data, loop.start)
    assert all(len(ids) == len(set(ids)) == 10 and set(ids) <= set(data.train.ids) for ids in drawn)
    runs = drawn[2:]  # after those that chose
    assert len(runs) == 3
    assert len({frozenset(ids) for ids in drawn}) == len(drawn)
    assert all(not torch.equal(line.heads["a"][run], line.heads["a"][0]) for run in (1, 2))
    assert line.bytes == 4 * 10 * sum(data.train.widths.values())
    assert line.settings["step_size"] in CONFIG.learning_rates
    assert line.settings["num_steps"] in step_choices(4)
    # each run's update lies in the span of its own rows
    for run, ids in enumerate(runs):
        rows = data.train.select([data.train.ids.index(name) for name in ids]).features["c"]
        update = line.heads["c"][run] - loop.start["c"]
        basis = torch.linalg.qr(rows.T)[0]
        assert float((update - update @ basis @ basis.T).norm()) < 1e-3 * float(update.norm())


# choices


def other_validation(data: Development, seed: int) -> Development:
    """Validation rows of noise."""
    generator = torch.Generator().manual_seed(seed)
    noise = {name: torch.randn(x.shape, generator=generator) for name, x in data.validation.features.items()}
    return dataclasses.replace(data, validation=dataclasses.replace(data.validation, features=noise))


@pytest.mark.parametrize(
    "make",
    [
        lambda data, start, distilled: full_line(InfoNCE(), "", start, data, CONFIG, 0),
        lambda data, start, distilled: low_rank_line(2, start, data, CONFIG, 0),
        lambda data, start, distilled: ten_random_rows(data, start),
        lambda data, start, distilled: cca_line(start, data),
    ],
    ids=["full", "low_rank", "random", "cca"],
)
def test_choices_follow_validation(
    make: Callable[[Development, Heads, DistilledSet], Line], distilled: DistilledSet, loop: Loop
) -> None:
    """Other validation rows change what is chosen, and by the choice alone the heads."""
    data = features().development()
    made = [
        make(found, loop.start, distilled) for found in (data, *(other_validation(data, seed) for seed in (1, 2, 3)))
    ]
    chosen = [line.settings for line in made]
    assert any(settings != chosen[0] for settings in chosen)
    for line in made:
        same = all(torch.equal(line.heads[name], made[0].heads[name]) for name in loop.start)
        assert same == (line.settings == chosen[0])


def test_no_line_can_be_given_a_test_split() -> None:
    """By type: what trains takes a `Development`, and that has no test rows."""
    assert {field.name for field in dataclasses.fields(Development)} == {"heads", "train", "validation"}
    for make in (full_line, low_rank_line, random_line, distilled_line, equal_bytes_line, zero_shot_line, cca_line):
        types = {str(parameter.annotation) for parameter in inspect.signature(make).parameters.values()}
        assert "FeatureSet" not in types, make


def test_a_rate_that_diverges_is_passed_over(loop: Loop) -> None:
    config = CONFIG.evolve(learning_rates=(float("inf"), 0.5))
    line = full_line(InfoNCE(), "", loop.start, features().development(), config, 0)
    assert line.settings["learning_rate"] == 0.5
    assert all(bool(torch.isfinite(matrix).all()) for matrix in line.heads.values())
