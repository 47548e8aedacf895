from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import oracles
from omnidistill.models.objectives import PairwiseWbce
from omnidistill.models.objectives.pairs import modality_pairs
from omnidistill.models.objectives.wbce import Reduction

Normal = Callable[..., Tensor]


def draws(normal: Normal, num_modalities: int) -> tuple[Tensor, Tensor]:
    """Head outputs of any length, and a target matrix that is not symmetric."""
    targets = torch.eye(4, dtype=torch.float64) + 0.3 * normal(4, 4, seed=1)
    targets[0, 2] = 0.9
    assert ((targets - 0.5).abs() > 1e-3).all()
    return normal(num_modalities, 4, 5), targets


@pytest.mark.parametrize("num_modalities", [2, 3, 5])
@pytest.mark.parametrize("anchor", [None, 0, 1])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_value_is_the_equation(normal: Normal, num_modalities: int, anchor: int | None, reduction: Reduction) -> None:
    outputs, targets = draws(normal, num_modalities)
    objective = PairwiseWbce(tau=0.3, threshold=0.5, reduction=reduction, anchor=anchor)
    expected = oracles.pairwise_wbce(outputs.numpy(), targets.numpy(), 0.3, 0.5, reduction, anchor)
    assert objective.value(outputs, targets).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("num_modalities", [2, 3, 4])
@pytest.mark.parametrize("anchor", [None, 1])
@pytest.mark.parametrize("epsilon", [0.0, 0.01])
def test_derivatives(normal: Normal, num_modalities: int, anchor: int | None, epsilon: float) -> None:
    objective = PairwiseWbce(tau=0.3, anchor=anchor, epsilon=epsilon)
    outputs, targets = (x.requires_grad_() for x in draws(normal, num_modalities))
    (by_autograd,) = torch.autograd.grad(objective.value(outputs, targets), outputs)
    torch.testing.assert_close(objective.gradient(outputs, targets), by_autograd, rtol=1e-12, atol=1e-14)
    assert torch.autograd.gradcheck(objective.gradient, (outputs, targets))
    cotangent = torch.ones((), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(objective.value, (outputs, targets), grad_outputs=(cotangent,))


def test_defaults_are_those_of_the_public_code(normal: Normal) -> None:
    outputs, targets = draws(normal, 3)
    expected = oracles.pairwise_wbce(outputs.numpy(), targets.numpy(), 0.07, 0.5, "mean", None)
    assert PairwiseWbce().value(outputs, targets).item() == pytest.approx(expected, rel=1e-12)


def test_a_figure_of_the_public_code_worked_by_hand() -> None:
    """Cosines 1/2 and -1/2 of the pairs, 0 elsewhere; tau 0.07. LoRS adds 1e-6 inside the logarithm and to the counts,
    which is epsilon = 1e-6. Without: (log(1 + e^-7.142857) + log(1 + e^7.142857)) / 2 = 3.572219 of the pairs, log 2
    elsewhere, half of the sum.
    """
    half = 3**0.5 / 2
    left = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]], dtype=torch.float64)
    right = torch.tensor([[0.5, 0, half, 0], [0, -0.5, 0, half]], dtype=torch.float64)
    outputs, targets = torch.stack([3 * left, 0.2 * right]), torch.eye(2, dtype=torch.float64)
    assert PairwiseWbce().value(outputs, targets).item() == pytest.approx(2.132683, abs=1e-6)
    q = 1 / (1 + np.exp(-np.array([[0.5, 0], [0, -0.5]]) / 0.07))
    losses = np.where(np.eye(2) > 0.5, -np.log(q + 1e-6), -np.log(1 - q + 1e-6))
    public = 0.5 * (losses[[0, 1], [0, 1]].sum() + losses[[0, 1], [1, 0]].sum()) / (2 + 1e-6)
    assert public == pytest.approx(2.13236433942220, abs=1e-13)  # in 40 decimal digits
    assert PairwiseWbce(epsilon=1e-6).value(outputs, targets).item() == pytest.approx(public, rel=1e-14)


def test_with_three_modalities_an_anchor_leaves_out_the_pair_without_it(normal: Normal) -> None:
    outputs, targets = draws(normal, 3)
    bound = PairwiseWbce(anchor=2)
    pairs = [PairwiseWbce().value(outputs[list(pair)], targets) for pair in ((0, 2), (1, 2))]
    torch.testing.assert_close(bound.value(outputs, targets), sum(pairs))


def test_pairs_of_modalities() -> None:
    def listed(num_modalities: int, anchor: int | None) -> list[tuple[int, int]]:
        left, right = modality_pairs(num_modalities, anchor)
        return list(zip(left.tolist(), right.tolist(), strict=True))

    assert listed(2, None) == [(0, 1)]
    assert listed(4, None) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert listed(4, 2) == [(0, 2), (1, 2), (2, 3)]
