"""The written-out derivative of plain SGD against autograd through `dual_steps` and through the parameters."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pydantic import PrivateAttr
from torch import Tensor

from omnidistill.models.heads import stack
from omnidistill.models.objectives import Hopa, InfoNCE, Objective, PairwiseWbce
from omnidistill.models.similarities import Full
from omnidistill.training.rollout import bptt_rollout, dual_rollout
from omnidistill.training.rollout.dual import DualState, dual_steps
from omnidistill.training.rollout.plain_sgd import plain_steps
from rollout_problems import Problem, answers, assert_close, problem

EXACT = 1e-9
NAMES = ("outputs", "kernel", "targets", "step sizes")


def inputs(made: Problem) -> tuple[Tensor, ...]:
    """B = X W_0^T, a kernel that is not symmetric (nothing may rely on it), targets and step sizes."""
    rows = {name: x.detach() for name, x in made.rows.items()}
    outputs = stack({name: x @ made.start[name].mT for name, x in rows.items()})
    kernel = stack({name: x @ x.mT for name, x in rows.items()})
    kernel = kernel + 0.1 * torch.arange(kernel.shape[-1]).double()
    found = (outputs, kernel, made.targets.detach(), made.step_sizes.detach())
    return tuple(tensor.clone().requires_grad_() for tensor in found)


def by_autograd(made: Problem, outputs: Tensor, kernel: Tensor, targets: Tensor, sizes: Tensor) -> Tensor:
    state = DualState.initial(1, outputs, 0.0)
    runs = targets.unsqueeze(0), made.batches.unsqueeze(0)
    return dual_steps(made.objective, outputs, kernel, *runs, sizes, state).coefficients[0]


def written_out(made: Problem, outputs: Tensor, kernel: Tensor, targets: Tensor, sizes: Tensor) -> Tensor:
    return plain_steps(made.objective, outputs, kernel, targets, made.batches, sizes)


def gradients(coefficients: Tensor, tensors: tuple[Tensor, ...]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    cotangent = torch.randn(coefficients.shape, generator=generator, dtype=torch.float64)
    found = torch.autograd.grad(coefficients, tensors, cotangent, retain_graph=True, materialize_grads=True)
    return dict(zip(NAMES, found, strict=True))


@pytest.mark.parametrize("objective", [Hopa(), Hopa(lambda_ins=0.0), PairwiseWbce(tau=0.2), InfoNCE(tau=0.2)])
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"per_step": True},
        {"num_steps": 1},
        {"batch_size": 7},
        {"num_rows": 40},
        {"num_modalities": 2, "num_steps": 12},
    ],
    ids=["plain", "per step", "T=1", "b=N", "rows unvisited", "T=12"],
)
def test_equals_autograd_for_every_input(objective: Objective, shape: dict[str, int]) -> None:
    """Each input of its own, the kernel's gradient entry by entry; the coefficients too."""
    made = problem(objective=objective, similarity=Full(), **shape)  # type: ignore[arg-type]
    if isinstance(objective, InfoNCE):  # affinities are positive
        made.factors["matrix"].data.abs_()
    tensors = inputs(made)
    found, expected = written_out(made, *tensors), by_autograd(made, *tensors)
    torch.testing.assert_close(found, expected, rtol=EXACT, atol=1e-12)
    assert_close(gradients(found, tensors), gradients(expected, tensors), EXACT)


def test_finite_differences_agree() -> None:
    made = problem(num_modalities=2, num_rows=4, batch_size=3, num_steps=3, width=3, widths=(3, 4), similarity=Full())
    assert torch.autograd.gradcheck(lambda *tensors: written_out(made, *tensors), inputs(made))


@pytest.mark.parametrize("order", [[6, 5, 4, 3, 2, 1, 0], [3, 0, 6, 1, 5, 2, 4]])
def test_the_numbering_of_the_rows_does_not_matter(order: list[int]) -> None:
    """The skipped zeros depend on the numbering; the result must not."""
    made = problem(num_rows=7, batch_size=2, num_steps=6)
    rows, factors = (
        {name: x.detach()[order].requires_grad_() for name, x in tensors.items()}
        for tensors in (made.rows, made.factors)
    )
    moved = replace(made, rows=rows, factors=factors, batches=torch.tensor(order).argsort()[made.batches])
    found, expected = answers(dual_rollout, moved), answers(bptt_rollout, made)
    for name in expected:
        if name.startswith(("gradient of rows", "gradient of factor")):
            expected[name] = expected[name][order]
    assert_close(found, expected, EXACT)


def test_asking_twice_gives_the_same_and_changes_nothing() -> None:
    """The backward pass reverts its steps on a copy."""
    made = problem()
    tensors = inputs(made)
    coefficients = written_out(made, *tensors)
    before = coefficients.detach().clone()
    first, second = gradients(coefficients, tensors), gradients(coefficients, tensors)
    assert all(torch.equal(first[name], second[name]) for name in NAMES)
    assert torch.equal(coefficients, before)


def test_an_input_without_gradient_is_left_alone() -> None:
    made = problem()
    outputs, kernel, targets, sizes = tensors = inputs(made)
    some = written_out(made, outputs, kernel.detach(), targets.detach(), sizes)
    found = torch.autograd.grad(some.sum(), (outputs, sizes))
    expected = torch.autograd.grad(by_autograd(made, *tensors).sum(), (outputs, sizes))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=EXACT, atol=1e-12)
    assert not written_out(made, *(tensor.detach() for tensor in tensors)).requires_grad


def test_a_second_derivative_is_refused_not_wrong() -> None:
    made = problem()
    tensors = inputs(made)
    (first,) = torch.autograd.grad(written_out(made, *tensors).square().sum(), tensors[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.autograd.backward(first.sum())


class Counted(Objective):
    """An objective that records the rows of every gradient."""

    objective: Objective = Hopa()
    _calls: list[int] = PrivateAttr(default_factory=list)

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.objective.value(outputs, targets)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        self._calls.append(outputs.shape[-2])
        return self.objective.gradient(outputs, targets)


def test_every_step_takes_one_gradient() -> None:
    made = problem(objective=Counted(), num_steps=5)
    answers(dual_rollout, made)
    assert isinstance(made.objective, Counted)
    assert made.objective._calls == [4] * 5
