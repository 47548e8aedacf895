"""Endpoints in dual form give the same outputs and distances as their heads."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omnidistill.training.rollout import DualEndpoint, ParameterEndpoint, Rollout, Target, bptt_rollout, dual_rollout
from rollout_problems import assert_close, problem, relative_error, roll

EXACT = 1e-10


@pytest.mark.parametrize("rollout", [dual_rollout, bptt_rollout])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("num_modalities", [2, 4])
def test_outputs_and_distances_are_those_of_the_heads(
    rollout: Rollout, weight_decay: float, num_modalities: int
) -> None:
    made = problem(num_modalities=num_modalities)
    end = roll(rollout, made, 0.9, weight_decay)
    assert isinstance(end, DualEndpoint if rollout is dual_rollout else ParameterEndpoint)
    heads = end.heads()
    assert list(heads) == list(made.start)
    assert_close(end.outputs(made.fresh), {name: made.fresh[name] @ w.mT for name, w in heads.items()}, EXACT)
    expected = torch.stack([(heads[name] - made.goal[name]).square().sum() for name in made.start])
    assert relative_error(end.squared_distances(made.target), expected) < EXACT


@pytest.mark.parametrize("rollout", [dual_rollout, bptt_rollout])
def test_the_distance_to_its_own_heads_vanishes_and_to_its_start_is_the_way_it_went(rollout: Rollout) -> None:
    made = problem()
    end = roll(rollout, made, 0.9, 0.1)
    heads = {name: w.detach() for name, w in end.heads().items()}
    way = torch.stack([(heads[name] - made.start[name]).square().sum() for name in heads])
    assert relative_error(end.squared_distances(Target.between(made.start, made.start)), way) < EXACT
    assert (end.squared_distances(Target.between(made.start, heads)).abs() < 1e-12 * way).all()


def test_outputs_are_differentiable_with_respect_to_the_features() -> None:
    made = problem()
    cotangents = {name: torch.ones(len(x), 4, dtype=torch.float64) for name, x in made.fresh.items()}
    fresh = {name: x.clone().requires_grad_() for name, x in made.fresh.items()}
    end = roll(dual_rollout, made, 0.0, 0.1)
    total = sum((cotangents[name] * y).sum() for name, y in end.outputs(fresh).items())
    gradients = torch.autograd.grad(total, list(fresh.values()))
    expected = {name: cotangents[name] @ w for name, w in end.heads().items()}
    assert_close(dict(zip(fresh, gradients, strict=True)), expected, EXACT)


def test_target_is_the_start_minus_the_goal() -> None:
    start = {"a": torch.tensor([[3.0, 1.0]]), "b": torch.tensor([[0.0, 2.0, 0.0]])}
    goal = {"b": torch.tensor([[0.0, 0.0, 1.0]]), "a": torch.tensor([[1.0, 1.0]])}
    target = Target.between(start, goal)
    torch.testing.assert_close(target.difference["a"], torch.tensor([[2.0, 0.0]]))
    torch.testing.assert_close(target.difference["b"], torch.tensor([[0.0, 2.0, -1.0]]))
    torch.testing.assert_close(target.squared_norms, torch.tensor([4.0, 5.0]))


@pytest.mark.parametrize("rollout", [dual_rollout, bptt_rollout])
def test_a_goal_close_to_the_start_keeps_its_distance_in_float32(rollout: Rollout) -> None:
    """After two epochs at 0.01 the update is 1e-3 of the weights, so it must not be a difference of large products."""
    made = problem(num_rows=20, batch_size=10, width=32, widths=(64, 48, 40), step_size=1e-4)
    near = replace(made, goal={name: w + 1e-3 * (made.goal[name] - w) for name, w in made.start.items()})
    low = near.cast(torch.float32)
    # the stored difference, rounded once, not taken between rounded heads
    target = Target({name: d.float() for name, d in near.target.difference.items()}, near.target.squared_norms.float())
    found = roll(rollout, low).squared_distances(target)
    expected = roll(rollout, near).squared_distances(near.target)
    assert relative_error(found, expected) < 1e-3


def test_heads_without_weight_decay_keep_the_part_outside_the_span() -> None:
    """W_T - W_0 = A^T X: of rank N at most, and nothing outside the rows moves."""
    made = problem(num_rows=3, batch_size=3, width=6, widths=(8, 9, 10))
    end = roll(dual_rollout, made, 0.9)
    for name, w in end.heads().items():
        moved = (w - made.start[name]).detach()
        assert torch.linalg.matrix_rank(moved, atol=1e-12) <= 3
        basis = torch.linalg.qr(made.rows[name].detach().mT)[0]
        assert (moved - moved @ basis @ basis.mT).norm() < 1e-12 * moved.norm()
