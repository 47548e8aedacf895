"""Settings of the student's SGD that are learned: step sizes in both spaces, momentum and weight decay."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from omnidistill.core.errors import InputError, NotFiniteError
from omnidistill.core.streams import Streams
from omnidistill.distillation import DistilledSet
from omnidistill.distillation.learner import Learner, RestartPoint
from omnidistill.evaluation.paper_protocol import sgd_recipe
from omnidistill.io.artifacts import load_artifact
from small_runs import InterruptAfter, Loop, contents, records, small_config

BETA = 0.3
LINEAR = 'distill.step_size_space="linear"'


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    return Loop.make(tmp_path_factory.mktemp("experts"))


def learner(loop: Loop, *settings: str) -> Learner:
    config = small_config("distill.schedule=constant", f"distill.initial_step_size={BETA}", *settings)
    return Learner(loop.data.split("train"), loop.outer(config), 8, config.distill, Streams(0))


def sgd(rate: float) -> str:
    return f'distill.optimiser={{kind="sgd", rows=1e-9, similarity=1e-9, step_sizes={rate}, momentum=0.0}}'


def test_the_first_updates_agree_if_the_linear_rate_is_divided_by_the_square_of_the_step_size(loop: Loop) -> None:
    """beta - rate g in linear space, beta exp(-rate g / beta) in log space."""
    rate = 1e-3
    linear, log = learner(loop, LINEAR, sgd(rate)), learner(loop, sgd(rate / BETA**2))
    record = linear.iterate(0)
    log.iterate(0)
    gradient = linear.learnable.sgd["step_sizes"].grad
    assert gradient is not None
    found = linear.learnable.student_sgd().step_sizes.detach().double()
    torch.testing.assert_close(found, BETA - rate * gradient.double(), rtol=1e-6, atol=0)
    assert (found - BETA).abs().min() > 1e-6
    relative = (log.learnable.sgd["log_step_sizes"].detach().double() - math.log(BETA)) * BETA
    torch.testing.assert_close(relative, found - BETA, rtol=1e-2, atol=1e-8)
    assert record.values["step_size/a"] == pytest.approx(float(found[0]), rel=1e-6)


def test_a_step_size_of_zero_or_less_is_an_error_of_the_iteration(loop: Loop) -> None:
    """The loop restarts, as for NaN."""
    made = learner(loop, LINEAR, sgd(1e6))
    with pytest.raises(NotFiniteError, match=r"log step size of '[abc]' is NaN or Inf"):
        made.iterate(0)


def test_a_restart_halves_the_step_sizes_themselves(loop: Loop) -> None:
    made = learner(loop, LINEAR)
    good = RestartPoint(made.learnable.copy())
    for times in (1, 2):
        made.restart_from(good)
        torch.testing.assert_close(made.learnable.student_sgd().step_sizes.detach(), torch.full((3,), BETA / 2**times))


def test_a_set_has_the_learned_step_sizes_and_can_be_continued(loop: Loop, tmp_path: Path) -> None:
    config = small_config(LINEAR, f"distill.initial_step_size={BETA}", "distill.validate_every=0")
    found = loop.distill(tmp_path, config).distilled
    sizes = sgd_recipe(found).step_sizes
    last = records(tmp_path)[-1]
    assert sizes == pytest.approx([last[f"step_size/{name}"] for name in "abc"], rel=1e-6)
    assert all(abs(size - BETA) > 1e-4 for size in sizes)
    for settings in ((LINEAR,), ()):
        config = small_config(*settings)
        continued = Learner(loop.data.split("train"), loop.outer(config), 8, config.distill, Streams(0), found)
        torch.testing.assert_close(continued.learnable.student_sgd().step_sizes.detach(), torch.tensor(sizes))


def test_an_interrupted_run_in_linear_space_resumes_to_the_same_bits(loop: Loop, tmp_path: Path) -> None:
    config = small_config(LINEAR, f"distill.initial_step_size={BETA}", "distill.validate_every=2")
    loop.distill(tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        loop.distill(tmp_path / "parts", config, progress=InterruptAfter(3))
    tensors = load_artifact(tmp_path / "parts" / "checkpoint", "checkpoint").tensors
    assert {"leaf/step_sizes", "last-good/step_sizes"} < set(tensors)
    loop.distill(tmp_path / "parts", config, resume=True)
    assert contents(tmp_path / "parts" / "distilled") == contents(tmp_path / "whole" / "distilled")
    assert DistilledSet.load(tmp_path / "whole" / "distilled").provenance.validation is not None


BOTH = ("distill.initial_momentum=0.5", "distill.initial_weight_decay=0.01")


def test_momentum_and_weight_decay_are_learned_and_stored_in_the_recipe(loop: Loop, tmp_path: Path) -> None:
    config = small_config(*BOTH, "distill.validate_every=0")
    found = loop.distill(tmp_path, config).distilled
    recipe, last = sgd_recipe(found), records(tmp_path)[-1]
    assert (recipe.momentum, recipe.weight_decay) == pytest.approx((last["momentum"], last["weight_decay"]), rel=1e-6)
    assert 0 < recipe.momentum < 1
    assert abs(recipe.momentum - 0.5) > 1e-4
    assert recipe.weight_decay > 0
    assert abs(recipe.weight_decay - 0.01) > 1e-5
    continued = Learner(loop.data.split("train"), loop.outer(config), 8, config.distill, Streams(0), found)
    sgd = continued.learnable.student_sgd()
    learned = [float(torch.as_tensor(value).detach()) for value in (sgd.momentum, sgd.weight_decay)]
    assert learned == pytest.approx([recipe.momentum, recipe.weight_decay])


def test_students_train_with_the_learned_momentum_and_weight_decay(loop: Loop, tmp_path: Path) -> None:
    """The heads are those of torch's SGD on the batches of the set."""
    found = loop.distill(tmp_path, small_config(*BOTH, "distill.validate_every=0")).distilled
    recipe = sgd_recipe(found)
    trained = found.train(loop.start, seed=0)
    heads = {name: matrix.clone().requires_grad_() for name, matrix in loop.start.items()}
    groups = [{"params": [heads[name]], "lr": size} for name, size in zip(heads, recipe.step_sizes, strict=True)]
    optimiser = torch.optim.SGD(groups, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    for rows, targets in found.batches(seed=0):
        outputs = torch.stack([rows[name] @ heads[name].mT for name in heads])
        optimiser.zero_grad()
        found.objective.value(outputs, targets).backward()
        optimiser.step()
    for name, matrix in heads.items():
        torch.testing.assert_close(trained[name], matrix.detach(), rtol=1e-3, atol=1e-4)


def test_a_run_that_learns_both_resumes_to_the_same_bits(loop: Loop, tmp_path: Path) -> None:
    config = small_config(*BOTH, "distill.validate_every=2")
    loop.distill(tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        loop.distill(tmp_path / "parts", config, progress=InterruptAfter(3))
    assert {"leaf/logit_momentum", "leaf/log_weight_decay"} < set(
        load_artifact(tmp_path / "parts" / "checkpoint", "checkpoint").tensors
    )
    loop.distill(tmp_path / "parts", config, resume=True)
    assert contents(tmp_path / "parts" / "distilled") == contents(tmp_path / "whole" / "distilled")


@pytest.mark.parametrize("setting", BOTH)
def test_tesla_cannot_learn_them(setting: str) -> None:
    name = setting.removeprefix("distill.").partition("=")[0]
    with pytest.raises(InputError, match=f"{name}: rollout 'tesla' cannot learn it; set it to 0, or use rollout"):
        small_config(setting, "distill.rollout=tesla")
