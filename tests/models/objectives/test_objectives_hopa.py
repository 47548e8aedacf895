from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import oracles
from omnidistill.models.objectives import Hopa
from omnidistill.models.objectives.wbce import Reduction, wbce

Normal = Callable[..., Tensor]

SETTINGS = [
    Hopa(),
    Hopa(tau_mod=0.1, tau_ins=0.1, lambda_ins=0.2),
    Hopa(tau_mod=0.5, tau_ins=0.3, lambda_ins=2.0, threshold=0.2, reduction="mean"),
]


def draws(normal: Normal, num_modalities: int, size: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Head outputs of any length, and targets that leave [0, 1] and are not symmetric."""
    outputs = normal(1, size, 6, seed=seed) + normal(num_modalities, size, 6, seed=seed + 1)
    targets = torch.eye(size, dtype=torch.float64) + 0.3 * normal(size, size, seed=seed + 2)
    targets[0, 1], targets[1, 0] = 0.9, 0.1
    assert ((targets - 0.5).abs() > 1e-3).all()
    assert ((targets - 0.2).abs() > 1e-3).all()
    return outputs, targets


def arguments(objective: Hopa) -> tuple[float, float, float, float, Reduction]:
    return objective.tau_mod, objective.tau_ins, objective.lambda_ins, objective.threshold, objective.reduction


@pytest.mark.parametrize("objective", SETTINGS)
@pytest.mark.parametrize("num_modalities", [2, 3, 4, 6])
def test_value_and_gradient_are_the_equations(normal: Normal, objective: Hopa, num_modalities: int) -> None:
    outputs, targets = draws(normal, num_modalities)
    expected = oracles.hopa(outputs.numpy(), targets.numpy(), *arguments(objective))
    assert objective.value(outputs, targets).item() == pytest.approx(expected, rel=1e-10)
    written_out = oracles.hopa_gradient(outputs.numpy(), targets.numpy(), *arguments(objective))
    np.testing.assert_allclose(objective.gradient(outputs, targets), written_out, rtol=1e-8, atol=1e-11)


def test_defaults_are_the_paper(normal: Normal) -> None:
    outputs, targets = draws(normal, 3)
    expected = oracles.hopa(outputs.numpy(), targets.numpy(), 0.1, 0.2, 1.0, 0.5, "sum")
    assert Hopa().value(outputs, targets).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("objective", SETTINGS)
@pytest.mark.parametrize("num_modalities", [2, 3, 4])
def test_derivatives(normal: Normal, objective: Hopa, num_modalities: int) -> None:
    outputs, targets = (x.requires_grad_() for x in draws(normal, num_modalities))
    (by_autograd,) = torch.autograd.grad(objective.value(outputs, targets), outputs)
    torch.testing.assert_close(objective.gradient(outputs, targets), by_autograd, rtol=1e-9, atol=1e-12)
    assert torch.autograd.gradcheck(objective.gradient, (outputs, targets))
    cotangent = torch.ones((), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(objective.value, (outputs, targets), grad_outputs=(cotangent,))


def test_both_ways_to_the_second_derivative_agree(normal: Normal) -> None:
    """Differentiating the closed form once, and the value twice through the decomposition."""
    for num_modalities in (2, 3, 5):
        outputs, targets = (x.requires_grad_() for x in draws(normal, num_modalities))
        cotangent = normal(*outputs.shape, seed=9)
        (first,) = torch.autograd.grad(Hopa().value(outputs, targets), outputs, create_graph=True)
        through_value = torch.autograd.grad((first * cotangent).sum(), (outputs, targets))
        closed = torch.autograd.grad((Hopa().gradient(outputs, targets) * cotangent).sum(), (outputs, targets))
        for one, other in zip(through_value, closed, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_two_modalities_have_a_formula(normal: Normal) -> None:
    """sigma = sqrt(1 +- c), v_1 the direction of z_1 + z_2."""
    outputs = normal(1, 4, 6) + 0.7 * normal(2, 4, 6, seed=1)
    targets = draws(normal, 2)[1]
    first, second = torch.nn.functional.normalize(outputs, dim=-1)
    cosine = (first * second).sum(-1)
    assert (cosine > 0).all()
    large, small = (1 + cosine).sqrt() / 0.1, (1 - cosine).sqrt() / 0.1
    modality = (torch.logaddexp(large, small) - large).mean()
    proxies = torch.nn.functional.normalize(first + second, dim=-1)
    expected = modality + wbce(proxies @ proxies.mT, targets, 0.2, 0.5, "sum")
    torch.testing.assert_close(Hopa().value(outputs, targets), expected)


def test_the_diagonal_of_the_targets_receives_no_outer_gradient(normal: Normal) -> None:
    """s_ii = 1 whatever the heads do (methods: the weights a_i of the similarity are inert)."""
    outputs, targets = draws(normal, 3)
    targets.requires_grad_()
    steps = (Hopa().gradient(outputs, targets) * normal(*outputs.shape, seed=9)).sum()
    (gradient,) = torch.autograd.grad(steps, targets)
    assert gradient.diag().abs().max() < 1e-12
    assert gradient[~torch.eye(4, dtype=torch.bool)].abs().min() > 1e-4


def test_the_consensus_has_the_sign_of_the_mean_embedding(normal: Normal) -> None:
    """The instance term is close to that of the mean embeddings, which would fail with wrong signs."""
    outputs = 2 * normal(1, 30, 16) + normal(3, 30, 16, seed=1)
    means = torch.nn.functional.normalize(outputs, dim=-1).mean(0)
    means = torch.nn.functional.normalize(means, dim=-1)
    objective = Hopa()
    targets = torch.eye(30, dtype=torch.float64)
    without = Hopa(lambda_ins=0.0)
    instance = objective.value(outputs, targets) - without.value(outputs, targets)
    by_means = wbce(means @ means.mT, targets, 0.2, 0.5, "sum")
    assert instance.item() == pytest.approx(by_means.item(), rel=0.01)


def gram_outputs(normal: Normal, gram: Tensor, size: int) -> Tensor:
    """Head outputs of `size` instances that all have the given Gram matrix, in other directions, of other lengths."""
    root = torch.linalg.cholesky(gram)
    bases = [torch.linalg.qr(normal(8, len(gram), seed=seed))[0] for seed in range(size)]
    return torch.stack([root @ basis.mT for basis in bases], 1) * (0.5 + normal(len(gram), size, 1, seed=99).abs())


@pytest.mark.parametrize(
    ("gap", "dtype", "tolerance"),
    [
        (1e-8, torch.float64, 1e-7),
        (1e-10, torch.float64, 1e-5),
        (0.0, torch.float64, 0.1),
        (1e-3, torch.float32, 1e-3),
        (1e-6, torch.float32, 0.1),
        (0.0, torch.float32, 0.1),
    ],
)
def test_second_derivative_near_repeated_lesser_eigenvalues(
    normal: Normal, gap: float, dtype: torch.dtype, tolerance: float
) -> None:
    """lambda_2 - lambda_3 = gap or a little more; the truth by central differences. The first order does not notice."""
    gram = torch.tensor([[1, 0.5 + gap, 0.5], [0.5 + gap, 1, 0.5 - gap], [0.5, 0.5 - gap, 1]], dtype=torch.float64)
    outputs, targets = gram_outputs(normal, gram, 4), 0.2 + torch.eye(4, dtype=torch.float64)
    direction, h = normal(*outputs.shape, seed=5), 1e-5
    near, far = (
        (Hopa().gradient(outputs + k * h * direction, targets) - Hopa().gradient(outputs - k * h * direction, targets))
        for k in (1, 2)
    )
    truth = (8 * near - far) / (12 * h)
    low = outputs.to(dtype).requires_grad_()
    gradient = Hopa().gradient(low, targets.to(dtype))
    (found,) = torch.autograd.grad((gradient * direction.to(dtype)).sum(), low)
    assert (found.double() - truth).norm() < tolerance * truth.norm()
    exact = Hopa().gradient(outputs, targets)
    assert (gradient.double() - exact).norm() < (1e-5 if dtype is torch.float32 else 1e-12) * exact.norm()
