"""Coefficients of the modes: eq. 14 for HoPA, no effect of L_ins, and the full spectrum of pairwise objectives."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from omnidistill.evaluation.theory.mode_gradients import ModeGradients, mode_gradients, predicted_coefficients
from omnidistill.evaluation.theory.modes import Modes, modes
from omnidistill.models.objectives import Hopa, InfoNCE, Objective, PairwiseWbce
from omnidistill.models.objectives.sphere import normalise

NUM, MODALITIES, WIDTH = 6, 3, 8


def problem(seed: int = 0, num_modalities: int = MODALITIES) -> tuple[Tensor, Tensor]:
    """Return unit embeddings and targets, of which none is near the threshold."""
    draw = torch.Generator().manual_seed(seed)
    shared = torch.randn(NUM, 1, WIDTH, dtype=torch.float64, generator=draw)
    own = torch.randn(NUM, num_modalities, WIDTH, dtype=torch.float64, generator=draw)
    targets = (torch.eye(NUM) + 0.1 * torch.rand(NUM, NUM, generator=draw)).clamp(0, 1).double()
    return normalise(shared + own)[0], targets


def gradients(objective: Objective, z: Tensor, targets: Tensor) -> tuple[ModeGradients, Modes]:
    decomposed = modes(z)
    return mode_gradients(objective, z, targets, decomposed), decomposed


@pytest.mark.parametrize("num_modalities", [2, 3, 5])
@pytest.mark.parametrize(
    ("term", "weight"), [("softmax", 0.0), ("softmax", 1.0), ("single", 0.0), ("single", 1.0), ("none", 1.0)]
)
def test_the_coefficients_of_hopa_are_those_of_eq_14(num_modalities: int, term: str, weight: float) -> None:
    objective = Hopa(modality_term=term, lambda_ins=weight, tau_mod=0.3)
    z, targets = problem(1, num_modalities)
    found, decomposed = gradients(objective, z, targets)
    sigma = torch.linalg.svdvals(z)
    p = torch.softmax(sigma / 0.3, -1)
    expected = {"softmax": p / 0.3, "single": torch.zeros_like(p), "none": torch.zeros_like(p)}[term]
    expected[:, 0] += {"softmax": -1 / 0.3, "single": -1.0, "none": 0.0}[term]
    torch.testing.assert_close(found.coefficients, expected, rtol=0, atol=1e-11)
    predicted = predicted_coefficients(objective, decomposed)
    assert predicted is not None
    torch.testing.assert_close(predicted, expected, rtol=0, atol=1e-12)


def test_the_softmax_excites_every_mode_and_the_single_mode_term_one() -> None:
    z, targets = problem(2)
    softmax, _ = gradients(Hopa(lambda_ins=0), z, targets)
    single, _ = gradients(Hopa(modality_term="single", lambda_ins=0), z, targets)
    assert bool((softmax.omega[:, 1:] > 1e-7).all())
    assert float(single.omega[:, 1:].max()) < 1e-13
    for each in (softmax, single):
        assert float(each.rest.abs().max()) < 1e-11


@pytest.mark.parametrize("objective", [Hopa(modality_term="none"), Hopa(modality_term="none", instance_term="infonce")])
def test_the_instance_term_is_outside_all_modes(objective: Hopa) -> None:
    z, targets = problem(3)
    found, _ = gradients(objective, z, targets)
    by_mode, rest = found.energy()
    assert float(found.total.abs().max()) > 1e-2
    assert float(by_mode.max()) < 1e-24
    assert rest == pytest.approx(1)


@pytest.mark.parametrize("objective", [Hopa(), PairwiseWbce(tau=0.3), InfoNCE(tau=0.3)])
def test_the_gradient_is_the_derivative_of_the_loss_off_the_sphere(objective: Objective) -> None:
    """Central differences of the loss, also along the embeddings themselves."""
    z, targets = problem(4)
    found, decomposed = gradients(objective, z, targets)
    draw = torch.Generator().manual_seed(0)
    for direction in (z, torch.randn(z.shape, dtype=torch.float64, generator=draw)):
        ahead, behind = (
            float(objective.embedding_loss((z + step * direction).transpose(0, 1), targets)) for step in (1e-6, -1e-6)
        )
        assert float((found.total * direction).sum()) / NUM == pytest.approx((ahead - behind) / 2e-6, rel=1e-6)
    total = decomposed.combined(found.coefficients) + found.rest
    torch.testing.assert_close(total, found.total, rtol=0, atol=1e-13)
    torch.testing.assert_close(decomposed.coefficients(found.rest), torch.zeros_like(found.omega), rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", ["wbce", "infonce"])
def test_pairwise_coefficients_are_those_of_appendix_a_2(loss: str) -> None:
    """c_k = b sum_m u_km sum_{n != m} sum_j e_mn,ij (z_nj . v_k), with e written out in loops."""
    z, targets = problem(5)
    tau, targets = 0.4, (targets if loss == "wbce" else torch.eye(NUM, dtype=torch.float64))
    objective: Objective = PairwiseWbce(tau=tau, reduction="sum") if loss == "wbce" else InfoNCE(tau=tau)
    found, decomposed = gradients(objective, z, targets)
    positives = int((targets > 0.5).sum())
    expected = torch.zeros(NUM, MODALITIES, dtype=torch.float64)
    for m in range(MODALITIES):
        for n in range(m + 1, MODALITIES):
            s = [[float(z[i, m] @ z[j, n]) / tau for j in range(NUM)] for i in range(NUM)]
            for i in range(NUM):
                for j in range(NUM):
                    t = float(targets[i, j])
                    if loss == "wbce":
                        weight = 1 / positives if t > 0.5 else 1 / (NUM**2 - positives)
                        e = weight * (1 / (1 + math.exp(-s[i][j])) - t) / tau
                    else:
                        row = math.exp(s[i][j]) / sum(math.exp(each) for each in s[i])
                        column = math.exp(s[i][j]) / sum(math.exp(each[j]) for each in s)
                        e = (row + column - 2 * t) / (2 * NUM * tau)
                    for k in range(MODALITIES):
                        expected[i, k] += NUM * e * float(decomposed.left[i, m, k] * (z[j, n] @ decomposed.right[i, k]))
                        expected[j, k] += NUM * e * float(decomposed.left[j, n, k] * (z[i, m] @ decomposed.right[j, k]))
    torch.testing.assert_close(found.coefficients, expected, rtol=1e-9, atol=1e-11)
    assert bool((found.omega.mean(0) > 1e-3).all())  # the full spectrum is excited


@pytest.mark.parametrize("case", ["equal", "narrow"])
def test_eq_14_where_singular_values_vanish(case: str) -> None:
    """Two equal modalities, and fewer dimensions than modalities: the library's derivative of sigma_k = 0 is 0."""
    z, targets = problem(6)
    z = torch.stack([z[:, 0], z[:, 0], z[:, 1]], 1) if case == "equal" else normalise(z[..., :2])[0]
    found, decomposed = gradients(Hopa(), z, targets)
    predicted = predicted_coefficients(Hopa(), decomposed)
    assert predicted is not None
    torch.testing.assert_close(found.coefficients, predicted, rtol=0, atol=1e-8)


def test_other_objectives_have_no_prediction() -> None:
    assert predicted_coefficients(InfoNCE(), modes(problem()[0])) is None
