"""Parameter space: BPTT against finite differences, TESLA against its definition written out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.models.objectives import Hopa, Objective, PairwiseWbce
from omnidistill.models.similarities import Full, LowRank, Similarity
from omnidistill.training.rollout import bptt_rollout, dual_rollout, tesla_rollout
from rollout_problems import Problem, answers, assert_close, matching_gradients, problem, relative_error, roll

EXACT = 1e-9


def test_bptt_equals_finite_differences() -> None:
    made = problem(num_modalities=2, num_rows=4, batch_size=3, num_steps=3, similarity=Full(), width=3, widths=(3, 4))

    def ends(first: Tensor, second: Tensor, matrix: Tensor, step_sizes: Tensor) -> tuple[Tensor, ...]:
        moved = replace(made, rows={"m0": first, "m1": second}, factors={"matrix": matrix}, step_sizes=step_sizes)
        return tuple(roll(bptt_rollout, moved, 0.9, 0.05).heads().values())

    assert torch.autograd.gradcheck(ends, tuple(made.leaves().values()))


def head_gradients(made: Problem, heads: dict[str, Tensor], t: int) -> dict[str, Tensor]:
    """g_t = dL/dW at constant W, by autograd of the value; differentiable with respect to the rows and factors."""
    batch = made.batches[t]
    heads = {name: matrix.detach().requires_grad_() for name, matrix in heads.items()}
    outputs = torch.stack([made.rows[name][batch] @ matrix.mT for name, matrix in heads.items()])
    value = made.objective.value(outputs, made.targets[t])
    return dict(zip(heads, torch.autograd.grad(value, list(heads.values()), create_graph=True), strict=True))


def two_passes(made: Problem) -> dict[str, Tensor]:
    """TESLA of the matching loss, literally.

    Pass 1: theta_i and G = sum_i g_i. Pass 2, with theta_i, G constant and c = beta (theta* - theta_0) + beta^2 G:
    dL/d(X_i, S_i) = (2 / D) d/d(X_i, S_i) [ c . g_i ],  dL/dbeta = (2 / D) (theta* - theta_0 + beta G) . G
    """
    num_steps, names = len(made.batches), list(made.start)
    beta = dict(zip(names, made.step_sizes.detach(), strict=True))
    heads, path = made.start, []
    total = {name: torch.zeros_like(matrix) for name, matrix in made.start.items()}
    for t in range(num_steps):
        path.append(heads)
        step = {name: g.detach() for name, g in head_gradients(made, heads, t).items()}
        total = {name: total[name] + step[name] for name in names}
        heads = {name: heads[name] - beta[name] * step[name] for name in names}
    away = {name: made.goal[name] - made.start[name] for name in names}
    scale = {name: 2 / away[name].square().sum() for name in names}
    c = {name: beta[name] * away[name] + beta[name] ** 2 * total[name] for name in names}

    leaves = made.leaves()
    gradients = {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
    learned = [name for name in leaves if name != "step sizes"]
    for t in range(num_steps):
        step = head_gradients(made, path[t], t)
        aligned = sum(scale[name] * (c[name] * step[name]).sum() for name in names)
        for name, gradient in zip(learned, torch.autograd.grad(aligned, [leaves[k] for k in learned]), strict=True):
            gradients[name] += gradient
    gradients["step sizes"] = torch.stack(
        [scale[name] * ((away[name] + beta[name] * total[name]) * total[name]).sum() for name in names]
    )
    return gradients


@pytest.mark.parametrize("objective", [Hopa(), PairwiseWbce(tau=0.2)])
@pytest.mark.parametrize("similarity", [LowRank(rank=2, alpha=0.5), Full()])
@pytest.mark.parametrize("num_modalities", [2, 4])
def test_tesla_is_its_two_passes(objective: Objective, similarity: Similarity, num_modalities: int) -> None:
    made = problem(objective=objective, similarity=similarity, num_modalities=num_modalities)
    assert_close(matching_gradients(tesla_rollout, made), two_passes(made), EXACT)


def frozen_path(made: Problem, momentum: float) -> dict[str, Tensor]:
    """The rollout with every g_i taken at a constant theta_i, then differentiated as a whole."""
    num_steps, names = len(made.batches), list(made.start)
    sizes = made.step_sizes.expand(num_steps, len(names))
    heads = dict(made.start)
    velocity = {name: torch.zeros_like(matrix) for name, matrix in heads.items()}
    for t in range(num_steps):
        step = head_gradients(made, heads, t)
        velocity = {name: momentum * velocity[name] + step[name] for name in names}
        heads = {name: heads[name] - sizes[t, m] * velocity[name] for m, name in enumerate(names)}
    loss = sum(
        (heads[name] - made.goal[name]).square().sum() / (made.start[name] - made.goal[name]).square().sum()
        for name in names
    )
    leaves = made.leaves()
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("objective", [Hopa(), PairwiseWbce(tau=0.2)])
def test_tesla_holds_the_path_constant_with_momentum_too(momentum: float, per_step: bool, objective: Objective) -> None:
    made = problem(objective=objective, per_step=per_step, similarity=Full())
    found = matching_gradients(tesla_rollout, made, momentum)
    assert found["step sizes"].shape == made.step_sizes.shape
    assert_close(found, frozen_path(made, momentum), EXACT)


@pytest.mark.parametrize("objective", [Hopa(), PairwiseWbce(tau=0.2)])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_tesla_reaches_the_same_heads_and_after_one_step_has_the_exact_gradient(
    objective: Objective, momentum: float
) -> None:
    one = problem(objective=objective, num_steps=1)
    assert_close(answers(tesla_rollout, one, momentum), answers(bptt_rollout, one, momentum), EXACT)
    many = problem(objective=objective, num_steps=8)
    ends = [roll(rollout, many, momentum).heads() for rollout in (tesla_rollout, bptt_rollout)]
    assert_close(*ends, EXACT)


@pytest.mark.parametrize("objective", [Hopa(), PairwiseWbce(tau=0.2)])
def test_tesla_departs_from_the_exact_gradient_as_steps_grow(objective: Objective) -> None:
    def departure(step_size: float) -> float:
        made = problem(objective=objective, num_steps=8, step_size=step_size)
        exact, found = matching_gradients(bptt_rollout, made), matching_gradients(tesla_rollout, made)
        return max(relative_error(found[f"rows {name}"], exact[f"rows {name}"]) for name in made.rows)

    assert departure(1e-5) < 1e-2
    assert departure(0.3) > 0.1
    assert_close(
        matching_gradients(dual_rollout, problem(objective=objective, num_steps=8, step_size=0.3)),
        matching_gradients(bptt_rollout, problem(objective=objective, num_steps=8, step_size=0.3)),
        EXACT,
    )


def test_tesla_counts_a_row_once_for_each_visit() -> None:
    made = problem(num_rows=4, batch_size=4, num_steps=3)
    assert_close(matching_gradients(tesla_rollout, made), two_passes(made), EXACT)


def test_tesla_refuses_weight_decay() -> None:
    with pytest.raises(InputError, match=r"tesla.*does not support weight decay.*dual"):
        roll(tesla_rollout, problem(), 0.0, 0.1)
