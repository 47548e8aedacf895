"""The published evaluation: students and baselines by torch.optim.SGD with momentum, weight decay and MultiStepLR."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from omnidistill.core.errors import NotFiniteError
from omnidistill.data.preprocessing import EPSILON, Preprocessing
from omnidistill.distillation import DistilledSet
from omnidistill.evaluation.baselines import Allowance, Setting
from omnidistill.evaluation.baselines.all_rows import AllRows
from omnidistill.evaluation.baselines.random_real_rows import RandomRows
from omnidistill.evaluation.distilled_row import train_on_sets
from omnidistill.evaluation.paper_protocol import published_recipe, published_sgd, sgd_recipe, steps_per_epoch
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.validation import run_of, validation_score
from omnidistill.models.heads import Heads
from omnidistill.models.objectives import InfoNCE
from omnidistill.training.experts.epochs import stack_runs, train_epochs
from small_runs import Loop, features, small_config, small_heads

PAPER = EvaluateConfig(protocol="paper", num_seeds=2)
SMALL = PAPER.evolve(max_epochs=5, batch_size=4, learning_rates=(0.001, 0.02))


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    return Loop.make(tmp_path_factory.mktemp("experts"))


@pytest.fixture(scope="module")
def centred(loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> DistilledSet:
    config = small_config("distill.iterations=3", "distill.initial_step_size=0.05")
    return loop.distill(tmp_path_factory.mktemp("run"), config).distilled


@pytest.fixture(scope="module")
def distilled(centred: DistilledSet) -> DistilledSet:
    """The set, as if its data had been packed without centring."""
    return replace(centred, preprocessing=Preprocessing(True, EPSILON, {}))


def by_torch(distilled: DistilledSet, start: Heads, batches: Tensor, milestone: int) -> dict[str, Tensor]:
    """Heads in float64: the loss by value only, one group of parameters per modality, as in the public code."""
    rows = {name: x.double() for name, x in distilled.rows().items()}
    heads = {name: start[name].double().requires_grad_() for name in distilled.modalities}
    sizes = sgd_recipe(distilled).step_sizes
    groups = [{"params": [w], "lr": size} for w, size in zip(heads.values(), sizes, strict=True)]
    optimiser = torch.optim.SGD(groups, lr=0, momentum=0.9, weight_decay=0.0005)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones=[milestone], gamma=0.1)
    for batch in batches:
        outputs = torch.stack([rows[name][batch] @ heads[name].T for name in heads])
        optimiser.zero_grad()
        distilled.objective.value(outputs, distilled.targets(batch).double()).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return {name: matrix.detach() for name, matrix in heads.items()}


def test_students_are_trained_as_in_the_public_code(distilled: DistilledSet, loop: Loop) -> None:
    """10 rows in batches of 4: three steps per epoch, 15 in all, of which nine have the complete step size."""
    row = train_on_sets([distilled], loop.start, SMALL, 3)
    recipe = published_recipe(distilled, SMALL).recipe
    assert row.settings == {"num_steps": 15, "step_sizes": list(sgd_recipe(distilled).step_sizes), "protocol": "paper"}
    expected = by_torch(distilled, loop.start, recipe.batches(len(distilled), 3), 9)
    for name, matrix in expected.items():
        torch.testing.assert_close(row.heads[name][0].double(), matrix, rtol=1e-3, atol=1e-5)
    ours = train_on_sets([distilled], loop.start, SMALL.evolve(protocol="ours"), 3)
    assert not torch.allclose(ours.heads["a"][0], row.heads["a"][0], atol=1e-3)
    assert not torch.equal(row.heads["a"][0], row.heads["a"][1])  # each student draws its own batches


@pytest.mark.parametrize(("size", "steps", "decay"), [(100, 100, 51), (128, 100, 51), (200, 200, 102), (499, 400, 204)])
def test_the_defaults_are_100_epochs_of_batches_of_128(size: int, steps: int, decay: int) -> None:
    """LoRS: ceil(N / 128) batches per epoch, and a tenth of the step size from epoch 51 on."""
    assert steps_per_epoch(PAPER, size) * PAPER.max_epochs == steps
    assert published_sgd(PAPER, size) == {"momentum": 0.9, "weight_decay": 5e-4, "decay_after": decay}
    assert published_sgd(EvaluateConfig(), size) == {}


def test_a_set_with_fixed_batches_draws_its_own_ones(distilled: DistilledSet) -> None:
    """The published code knows no fixed batches."""
    fixed = distilled.with_recipe(distilled.recipe.evolve(order=5))
    assert sgd_recipe(published_recipe(fixed, SMALL)).order is None


def test_centred_features_are_reported(centred: DistilledSet, distilled: DistilledSet, loop: Loop) -> None:
    with pytest.warns(UserWarning, match=r"features of the set are centred.*--no-centre"):
        train_on_sets([centred], loop.start, SMALL, 0)
    train_on_sets([distilled], loop.start, SMALL, 0)
    train_on_sets([centred], loop.start, SMALL.evolve(protocol="ours"), 0)  # a warning here is an error


def test_diverging_students_are_an_error(distilled: DistilledSet, loop: Loop) -> None:
    huge = distilled.with_recipe(distilled.recipe.evolve(step_sizes=(1e30, 1e30, 1e30)))
    with pytest.raises(NotFiniteError, match=r"heads of 'a' became NaN or Inf; .* use evaluate.protocol = 'ours'"):
        train_on_sets([huge], loop.start, SMALL, 0)


def setting(config: EvaluateConfig) -> Setting:
    return Setting(features().development(), small_heads(features()), config, 0, Allowance(rows=10, bytes=10_000))


def test_heads_on_all_rows_are_those_of_the_last_epoch(loop: Loop) -> None:
    """Validation chooses only the step size."""
    inputs = setting(SMALL.evolve(batch_size=24, learning_rates=(1e-5, 0.02, 1e30)))
    row = AllRows().fit(inputs)
    assert row.settings["num_epochs"] == 5
    assert row.settings["protocol"] == "paper"
    scores = {}
    for rate in (1e-5, 0.02):
        heads = stack_runs(inputs.start, 1)
        arguments: dict[str, Any] = {"batch_size": 24, "num_epochs": 5, "seed": 0, "purpose": "full/tune"}
        arguments |= {"momentum": 0.9, "weight_decay": 5e-4, "decay_after": 3}
        for _ in train_epochs(InfoNCE(), heads, inputs.data.train, torch.tensor([rate]), **arguments):
            pass
        scores[rate] = validation_score(run_of(heads, 0), inputs.data.validation)
    assert row.settings["learning_rate"] == max(scores, key=lambda rate: scores[rate])
    assert row.num_evaluated == 2  # the third step size diverges


def test_random_rows_have_the_published_number_of_steps() -> None:
    """10 rows in batches of 4: three steps per epoch."""
    row, ours = RandomRows().fit(setting(SMALL)), RandomRows().fit(setting(SMALL.evolve(protocol="ours")))
    assert (row.settings["num_steps"], row.settings["protocol"]) == (15, "paper")
    assert "protocol" not in ours.settings
    assert row.num_evaluated == 2
