"""Restarts: learned tensors, their average and the optimiser are those of the restart point, with halved steps."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnidistill.core.errors import NotFiniteError
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.preprocessing import EPSILON, Preprocessing
from omnidistill.distillation.learnable import random_rows
from omnidistill.distillation.learner import Learner, RestartPoint
from small_runs import Loop, small_config


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    return Loop.make(tmp_path_factory.mktemp("experts"))


def learner(loop: Loop, *settings: str) -> Learner:
    config = small_config("distill.schedule=constant", *settings)
    return Learner(loop.data.split("train"), loop.outer(config), 8, config.distill, Streams(0))


def assert_halved(found: dict[str, Tensor], good: dict[str, Tensor], times: int) -> None:
    for name, tensor in good.items():
        shift = times * math.log(2) if name == "log_step_sizes" else 0.0
        torch.testing.assert_close(found[name], tensor - shift)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_all_learned_tensors_are_those_of_the_restart_point(average: float, loop: Loop) -> None:
    made = learner(loop, f"distill.average={average}")
    good = RestartPoint(made.learnable.copy())
    for iteration in range(3):
        made.iterate(iteration)
    assert made.optimiser.state
    made.restart_from(good)
    assert_halved(made.learnable.copy(), good.tensors, 1)
    assert_halved(made.learnable.result(), good.tensors, 1)
    assert not made.optimiser.state
    assert (made.restarts, made.rate_factor) == (1, 0.5)


def test_a_set_is_halved_once_for_each_restart_since_it_was_taken(loop: Loop) -> None:
    made = learner(loop)
    early = RestartPoint(made.learnable.copy())
    made.restart_from(early)
    made.iterate(0)
    late = RestartPoint(made.learnable.copy(), 1, made.restarts)
    for good, times in ((late, 1), (early, 3), (late, 3)):
        made.restart_from(good)
        assert_halved(made.learnable.copy(), good.tensors, times)
    assert made.rate_factor == 1 / 16


def test_the_restart_point_is_not_modified(loop: Loop) -> None:
    made = learner(loop)
    good = RestartPoint(made.learnable.copy())
    before = {name: tensor.clone() for name, tensor in good.tensors.items()}
    made.restart_from(good)
    made.iterate(0)
    assert all(torch.equal(good.tensors[name], tensor) for name, tensor in before.items())


def test_random_streams_continue(loop: Loop) -> None:
    """The second attempt uses other batches than the first."""
    made, whole = learner(loop), learner(loop)
    made.iterate(0)
    made.restart_from(RestartPoint(made.learnable.copy(), 1))
    for iteration in (0, 1):
        whole.iterate(iteration)
    made.iterate(1)
    assert all(torch.equal(state, whole.streams.state()[name]) for name, state in made.streams.state().items())


def test_the_last_set_that_trained_a_student_is_the_one_before_the_update(loop: Loop) -> None:
    made = learner(loop)
    made.iterate(0)
    before = made.learnable.copy()
    made.iterate(1)
    assert made.last_good.iteration == 1
    assert all(torch.equal(made.last_good.tensors[name], tensor) for name, tensor in before.items())


def test_a_sum_of_losses_that_overflows_is_named(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them is finite."""
    made = learner(loop)
    monkeypatch.setattr(type(made.outer), "loss", lambda *_: torch.full((3,), 2e38, requires_grad=True))
    with pytest.raises(NotFiniteError, match=r"^sum of the losses is NaN or Inf"):
        made.iterate(0)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=24), st.integers(0, 5), st.data())
@settings(deadline=None, max_examples=50)
def test_initial_rows_are_the_first_of_every_group_in_a_random_order_then_the_others(
    groups: list[int], seed: int, data: st.DataObject
) -> None:
    names, rows = tuple(map(str, range(len(groups)))), {name: torch.ones(len(groups), 1) for name in "ab"}
    plain = Preprocessing(False, EPSILON, {})
    train = FeatureSet(rows, names, tuple(map(str, groups)), ("train",) * len(names), None, plain, {})
    size = data.draw(st.integers(1, len(groups)))
    order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed)).tolist()
    firsts = {groups[row]: row for row in reversed(order)}.values()
    expected = [row for row in order if row in firsts] + [row for row in order if row not in firsts]
    chosen = random_rows(train, size, torch.Generator().manual_seed(seed))
    assert chosen.ids == tuple(map(str, expected[:size]))
