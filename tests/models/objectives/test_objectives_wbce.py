from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import oracles
from omnidistill.models.objectives.wbce import Reduction, wbce, wbce_gradient

Normal = Callable[..., Tensor]
REDUCTIONS: list[Reduction] = ["sum", "mean"]


def draws(normal: Normal, size: int = 5) -> tuple[Tensor, Tensor]:
    """Cosines, and targets that leave [0, 1] as learned ones may, none near the threshold."""
    targets = torch.eye(size, dtype=torch.float64) + 0.3 * normal(size, size, seed=1)
    targets[0, 1], targets[1, 0], targets[2, 3] = 1.4, -0.3, 0.8
    assert ((targets - 0.5).abs() > 1e-3).all()
    return torch.tanh(normal(size, size)), targets


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("threshold", [0.5, 0.1])
def test_value_and_gradient_are_the_equation(normal: Normal, reduction: Reduction, threshold: float) -> None:
    similarity, targets = draws(normal)
    expected = oracles.wbce(similarity.numpy(), targets.numpy(), 0.3, threshold, reduction)
    assert wbce(similarity, targets, 0.3, threshold, reduction).item() == pytest.approx(expected, rel=1e-12)
    errors = oracles.wbce_errors(similarity.numpy(), targets.numpy(), 0.3, threshold, reduction)
    np.testing.assert_allclose(wbce_gradient(similarity, targets, 0.3, threshold, reduction), errors, rtol=1e-12)


def test_mean_is_half_of_sum(normal: Normal) -> None:
    similarity, targets = draws(normal)
    torch.testing.assert_close(
        2 * wbce(similarity, targets, 0.2, 0.5, "mean"), wbce(similarity, targets, 0.2, 0.5, "sum")
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_derivatives(normal: Normal, reduction: Reduction) -> None:
    similarity, targets = (x.requires_grad_() for x in draws(normal))
    value = wbce(similarity, targets, 0.2, 0.5, reduction)
    (by_autograd,) = torch.autograd.grad(value, similarity)
    torch.testing.assert_close(wbce_gradient(similarity, targets, 0.2, 0.5, reduction), by_autograd)
    assert torch.autograd.gradcheck(lambda s, t: wbce(s, t, 0.2, 0.5, reduction), (similarity, targets))
    assert torch.autograd.gradcheck(lambda s, t: wbce_gradient(s, t, 0.2, 0.5, reduction), (similarity, targets))


@pytest.mark.parametrize("epsilon", [1e-6, 0.05])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_epsilon_is_in_the_logarithms_and_the_counts(normal: Normal, reduction: Reduction, epsilon: float) -> None:
    """Against the sums of the public code in numpy; a loss without epsilon differs by more than the tolerance."""
    similarity, targets = draws(normal)
    expected = oracles.wbce(similarity.numpy(), targets.numpy(), 0.07, 0.5, reduction, epsilon)
    assert wbce(similarity, targets, 0.07, 0.5, reduction, epsilon).item() == pytest.approx(expected, rel=1e-13)
    assert wbce(similarity, targets, 0.07, 0.5, reduction).item() != pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("epsilon", [1e-6, 0.05])
@pytest.mark.parametrize("reduction", [*REDUCTIONS, "plain"])
def test_derivatives_with_epsilon(normal: Normal, reduction: Reduction, epsilon: float) -> None:
    similarity, targets = (x.requires_grad_() for x in draws(normal))
    (by_autograd,) = torch.autograd.grad(wbce(similarity, targets, 0.2, 0.5, reduction, epsilon), similarity)
    gradient = wbce_gradient(similarity, targets, 0.2, 0.5, reduction, epsilon)
    torch.testing.assert_close(gradient, by_autograd, rtol=1e-12, atol=1e-14)
    assert torch.autograd.gradcheck(lambda s, t: wbce(s, t, 0.2, 0.5, reduction, epsilon), (similarity, targets))
    assert torch.autograd.gradcheck(
        lambda s, t: wbce_gradient(s, t, 0.2, 0.5, reduction, epsilon), (similarity, targets)
    )


def test_epsilon_bounds_a_loss_that_is_certain_and_wrong_in_float32() -> None:
    """-log(1e-6) = 13.8155 per positive and negative, and no gradient; without epsilon it is 200 and 200."""
    similarity = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    targets = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert wbce(similarity, targets, 0.005, 0.5, "mean", 1e-6).item() == pytest.approx(13.8155, abs=1e-4)
    assert wbce_gradient(similarity, targets, 0.005, 0.5, "mean", 1e-6).abs().max() == 0
    assert wbce(similarity, targets, 0.005, 0.5, "mean").item() == pytest.approx(200.0)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_one_side_may_be_empty(level: float) -> None:
    similarity, targets = torch.zeros(3, 3, dtype=torch.float64), torch.full((3, 3), level, dtype=torch.float64)
    assert wbce(similarity, targets, 0.2, 0.5, "sum").item() == pytest.approx(np.log(2))
    torch.testing.assert_close(wbce_gradient(similarity, targets, 0.2, 0.5, "sum"), (0.5 - targets) / (9 * 0.2))


def test_a_target_at_the_threshold_is_a_negative() -> None:
    targets = torch.tensor([[0.5, 1.0], [0.0, 1.0]], dtype=torch.float64)
    errors = wbce_gradient(torch.zeros(2, 2, dtype=torch.float64), targets, 1.0, 0.5, "sum")
    torch.testing.assert_close(errors, torch.tensor([[0.0, -0.25], [0.25, -0.25]], dtype=torch.float64))


def test_large_logits_stay_finite_in_float32() -> None:
    similarity = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).requires_grad_()
    targets = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    value = wbce(similarity, targets, 0.005, 0.5, "sum")  # logits of 200: exp overflows float32
    torch.testing.assert_close(value.item(), 200.0)
    assert torch.autograd.grad(value, similarity)[0].isfinite().all()
    assert wbce_gradient(similarity, targets, 0.005, 0.5, "sum").isfinite().all()


def test_each_leading_index_has_its_own_counts(normal: Normal) -> None:
    similarity, targets = torch.tanh(normal(2, 3, 4, 4)), normal(2, 3, 4, 4, seed=1)
    values = wbce(similarity, targets, 0.2, 0.5, "sum")
    errors = wbce_gradient(similarity, targets, 0.2, 0.5, "sum")
    for index in np.ndindex(2, 3):
        torch.testing.assert_close(values[index], wbce(similarity[index], targets[index], 0.2, 0.5, "sum"))
        torch.testing.assert_close(errors[index], wbce_gradient(similarity[index], targets[index], 0.2, 0.5, "sum"))
