"""Fixed modes: what table 7 computes in the place of the SVD, against plain loops over instances in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import oracles
from omnidistill.models.fixed_modes import identity_modes, mean_modes
from omnidistill.models.objectives import Hopa
from omnidistill.testing import check_objective

Normal = Callable[..., Tensor]
Array = oracles.Array


def draws(normal: Normal, num_modalities: int, size: int = 5) -> tuple[Tensor, Tensor]:
    outputs = normal(1, size, 6, seed=num_modalities) + normal(num_modalities, size, 6, seed=1)
    targets = torch.eye(size, dtype=torch.float64) + 0.3 * normal(size, size, seed=2)
    return outputs, targets


def mean_oracle(outputs: Array, targets: Array, objective: Hopa) -> float:
    """The mean of the unit embeddings is v_1; the other modes share what is left of the energy M."""
    z, (num, b, _) = oracles.unit(outputs), outputs.shape
    modality, proxies = 0.0, []
    for i in range(b):
        pooled = z[:, i].sum(0)
        first = pooled @ pooled / num
        sigma = [np.sqrt(first), *[np.sqrt((num - first) / (num - 1))] * (num - 1)]
        exponentials = [np.exp(each / objective.tau_mod) for each in sigma]
        modality -= np.log(exponentials[0] / sum(exponentials)) / b
        proxies.append(pooled / np.linalg.norm(pooled))
    similarity = np.array([[p @ q for q in proxies] for p in proxies])
    return modality + objective.lambda_ins * instance(similarity, targets, objective)


def identity_oracle(outputs: Array, targets: Array, objective: Hopa) -> float:
    """All singular values are 1, and the proxy similarity is the mean over modalities."""
    z, (num, b, _) = oracles.unit(outputs), outputs.shape
    similarity = np.array([[sum(z[m, i] @ z[m, j] for m in range(num)) / num for j in range(b)] for i in range(b)])
    return float(np.log(num)) + objective.lambda_ins * instance(similarity, targets, objective)


def instance(similarity: Array, targets: Array, objective: Hopa) -> float:
    return oracles.wbce(similarity, targets, objective.tau_ins, objective.threshold, objective.reduction)


@pytest.mark.parametrize("num_modalities", [2, 3, 5])
@pytest.mark.parametrize(("modes", "oracle"), [("mean", mean_oracle), ("identity", identity_oracle)])
def test_value_is_that_of_the_loops(
    normal: Normal, num_modalities: int, modes: str, oracle: Callable[..., float]
) -> None:
    outputs, targets = draws(normal, num_modalities)
    for more in ({}, {"tau_mod": 0.4, "tau_ins": 0.3, "lambda_ins": 2.0, "reduction": "mean"}):
        objective = Hopa(modes=modes, **more)
        expected = oracle(outputs.numpy(), targets.numpy(), objective)
        assert objective.value(outputs, targets).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("modes", ["identity", "mean"])
@pytest.mark.parametrize("num_modalities", [2, 3, 5])
def test_gradient_is_that_of_the_value(normal: Normal, num_modalities: int, modes: str) -> None:
    objective = Hopa(modes=modes, lambda_ins=0.7)
    outputs, targets = (each.requires_grad_() for each in draws(normal, num_modalities))
    (expected,) = torch.autograd.grad(objective.value(outputs, targets), outputs)
    torch.testing.assert_close(objective.gradient(outputs, targets), expected, rtol=1e-10, atol=1e-12)
    assert torch.autograd.gradcheck(objective.gradient, (outputs, targets))
    check_objective(objective)


@pytest.mark.parametrize("modes", ["identity", "mean"])
def test_every_modality_is_trained_and_none_is_special(normal: Normal, modes: str) -> None:
    """Experts of a head that never moves would have no trajectory to match."""
    outputs, targets = draws(normal, 3)
    gradient = Hopa(modes=modes).gradient(outputs, targets)
    assert (gradient.norm(dim=(1, 2)) > 1e-3).all()
    order = [2, 0, 1]
    torch.testing.assert_close(Hopa(modes=modes).gradient(outputs[order], targets), gradient[order])


def test_the_mean_is_the_first_singular_vector_if_all_cosines_are_equal() -> None:
    for cosine in (0.1, 0.8):
        gram = torch.full((3, 3), cosine, dtype=torch.float64).fill_diagonal_(1.0).unsqueeze(0)
        modes = mean_modes(gram)
        torch.testing.assert_close(modes.eigenvalues[0], torch.linalg.eigvalsh(gram)[0].flip(-1))
        torch.testing.assert_close(modes.vectors[0] @ modes.vectors[0].mT, torch.eye(3, dtype=torch.float64))
        torch.testing.assert_close(modes.vectors[0, :, 0], torch.full((3,), 3**-0.5, dtype=torch.float64))


def test_no_decomposition_is_computed(normal: Normal, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the control must not decompose")

    outputs, targets = draws(normal, 3)
    monkeypatch.setattr(torch.linalg, "eigh", refuse)
    for modes in ("identity", "mean"):
        Hopa(modes=modes).gradient(outputs, targets)
    with pytest.raises(AssertionError, match="decompose"):
        Hopa().gradient(outputs, targets)
    assert identity_modes(torch.eye(3, dtype=torch.float64)[None]).sigma.tolist() == [[1.0, 1.0, 1.0]]


def test_a_second_mode_is_only_that_of_the_svd() -> None:
    with pytest.raises(ValueError, match="no second mode; set proxy_rank = 1"):
        Hopa(modes="mean", proxy_rank=2)
