from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import oracles
from omnidistill.models.objectives import InfoNCE

Normal = Callable[..., Tensor]

IDENTITY = torch.eye(5, dtype=torch.float64)
GROUPS = torch.tensor([0, 1, 0, 2, 0])
SEVERAL = (GROUPS[:, None] == GROUPS).double()  # three rows of one thing
GRADED = torch.tensor(
    [[1, 0, 0.2, 0, 0], [0, 1, 0.5, 0.1, 0], [0, 0.7, 1, 0, 0], [0.4, 0, 0, 0.9, 0], [0, 0, 0, 0.3, 1]],
    dtype=torch.float64,
)
TARGETS = {"identity": IDENTITY, "several positives": SEVERAL, "graded, not symmetric": GRADED}


@pytest.mark.parametrize("targets", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize(("num_modalities", "anchor"), [(2, None), (3, None), (3, 1), (5, None), (5, 4)])
def test_value_is_the_equation(normal: Normal, targets: Tensor, num_modalities: int, anchor: int | None) -> None:
    outputs = normal(num_modalities, 5, 6)
    expected = oracles.infonce(outputs.numpy(), targets.numpy(), 0.2, anchor)
    assert InfoNCE(tau=0.2, anchor=anchor).value(outputs, targets).item() == pytest.approx(expected, rel=1e-12)


def test_with_the_identity_it_is_the_mean_of_two_cross_entropies(normal: Normal) -> None:
    outputs = normal(2, 5, 6)
    first, second = torch.nn.functional.normalize(outputs, dim=-1)
    logits, labels = first @ second.mT / 0.07, torch.arange(5)
    expected = sum(torch.nn.functional.cross_entropy(x, labels) for x in (logits, logits.mT)) / 2
    torch.testing.assert_close(InfoNCE().value(outputs, IDENTITY), expected)


@pytest.mark.parametrize("targets", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize(("num_modalities", "anchor"), [(2, None), (3, None), (4, 1)])
def test_derivatives(normal: Normal, targets: Tensor, num_modalities: int, anchor: int | None) -> None:
    objective = InfoNCE(tau=0.2, anchor=anchor)
    outputs, targets = normal(num_modalities, 5, 3).requires_grad_(), targets.clone().requires_grad_()
    (by_autograd,) = torch.autograd.grad(objective.value(outputs, targets), outputs)
    torch.testing.assert_close(objective.gradient(outputs, targets), by_autograd, rtol=1e-12, atol=1e-14)
    assert torch.autograd.gradcheck(objective.gradient, (outputs, targets))
    cotangent = torch.ones((), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(objective.value, (outputs, targets), grad_outputs=(cotangent,))


def test_the_scale_of_the_targets_does_not_matter(normal: Normal) -> None:
    outputs = normal(3, 5, 6)
    torch.testing.assert_close(InfoNCE().value(outputs, 7 * SEVERAL), InfoNCE().value(outputs, SEVERAL))
    torch.testing.assert_close(InfoNCE().gradient(outputs, 7 * SEVERAL), InfoNCE().gradient(outputs, SEVERAL))


def test_a_row_without_a_positive_only_repels(normal: Normal) -> None:
    """Its own cross-entropy vanishes and nothing becomes NaN."""
    outputs, targets = normal(2, 5, 6), IDENTITY.clone()
    targets[3, 3] = 0
    value, gradient = InfoNCE(tau=0.2).value(outputs, targets), InfoNCE(tau=0.2).gradient(outputs, targets)
    first, second = torch.nn.functional.normalize(outputs, dim=-1)
    logits = first @ second.mT / 0.2
    kept = [0, 1, 2, 4]
    losses = logits.logsumexp(1) - logits.diag() + logits.logsumexp(0) - logits.diag()
    torch.testing.assert_close(value, losses[kept].sum() / 10)
    assert gradient.isfinite().all()


def test_low_temperatures_stay_finite_in_float32(normal: Normal) -> None:
    outputs, targets = normal(3, 5, 6).float().requires_grad_(), IDENTITY.float()
    assert InfoNCE(tau=0.005).value(outputs, targets).isfinite()
    gradient = InfoNCE(tau=0.005).gradient(outputs, targets)
    assert gradient.isfinite().all()
    assert torch.autograd.grad(gradient.square().sum(), outputs)[0].isfinite().all()
