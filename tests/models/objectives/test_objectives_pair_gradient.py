"""The written-out gradient of a pairwise objective against autograd of the loss, its errors any function whatever."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from omnidistill.models.objectives.pair_gradient import pair_gradient
from omnidistill.models.objectives.pairs import cosines, modality_pairs
from omnidistill.models.objectives.sphere import normalise

Normal = Callable[..., Tensor]


def loss(between: Tensor, targets: Tensor) -> Tensor:
    """Not symmetric in anything, nor linear in the targets."""
    weights = torch.arange(between[0].numel(), dtype=between.dtype).view(between.shape[1:]).cos()
    return (weights * (2 * between + targets.square().unsqueeze(-3)).sin()).sum((-3, -2, -1))


def errors(between: Tensor, targets: Tensor) -> Tensor:
    """Its derivative by the cosines."""
    weights = torch.arange(between[0].numel(), dtype=between.dtype).view(between.shape[1:]).cos()
    return 2 * weights * (2 * between + targets.square().unsqueeze(-3)).cos()


def by_autograd(outputs: Tensor, targets: Tensor, left: Tensor, right: Tensor) -> Tensor:
    value = loss(cosines(normalise(outputs)[0], left, right), targets).sum()
    return torch.autograd.grad(value, outputs, create_graph=True)[0]


@pytest.mark.parametrize(("num_modalities", "anchor"), [(2, None), (3, None), (4, None), (4, 2)])
def test_first_and_second_derivatives(normal: Normal, num_modalities: int, anchor: int | None) -> None:
    """Two runs at once, every pair with errors of its own."""
    left, right = modality_pairs(num_modalities, anchor)
    leaves = normal(2, num_modalities, 4, 5).requires_grad_(), normal(2, 4, 4, seed=1).requires_grad_()
    cotangent = normal(2, num_modalities, 4, 5, seed=2)
    found, expected = pair_gradient(errors, *leaves, left, right), by_autograd(*leaves, left, right)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
    slopes = (torch.autograd.grad(gradient, leaves, cotangent, retain_graph=True) for gradient in (found, expected))
    for one, other in zip(*slopes, strict=True):
        assert float(other.norm()) > 0.1
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)


def test_either_argument_may_be_without_gradient(normal: Normal) -> None:
    left, right = modality_pairs(3)
    outputs, targets, cotangent = normal(3, 4, 5), normal(4, 4, seed=1), normal(3, 4, 5, seed=2)
    leaves = outputs.clone().requires_grad_(), targets.clone().requires_grad_()
    expected = torch.autograd.grad(pair_gradient(errors, *leaves, left, right), leaves, cotangent)
    alone = (
        pair_gradient(errors, leaves[0], targets, left, right),
        pair_gradient(errors, outputs, leaves[1], left, right),
    )
    for gradient, leaf, slope in zip(alone, leaves, expected, strict=True):
        assert torch.equal(torch.autograd.grad(gradient, leaf, cotangent)[0], slope)
    assert not pair_gradient(errors, outputs, targets, left, right).requires_grad


def test_asking_twice_gives_the_same(normal: Normal) -> None:
    left, right = modality_pairs(3)
    outputs, cotangent = normal(3, 4, 5).requires_grad_(), normal(3, 4, 5, seed=2)
    gradient = pair_gradient(errors, outputs, normal(4, 4, seed=1), left, right)
    first, second = (torch.autograd.grad(gradient, outputs, cotangent, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_a_further_derivative_is_refused_not_wrong(normal: Normal) -> None:
    left, right = modality_pairs(3)
    outputs = normal(3, 4, 5).requires_grad_()
    gradient = pair_gradient(errors, outputs, normal(4, 4, seed=1), left, right)
    (slope,) = torch.autograd.grad(gradient.square().sum(), outputs, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_nothing_as_wide_as_the_outputs_is_kept_but_they(normal: Normal) -> None:
    left, right = modality_pairs(3)
    outputs, kept = normal(3, 2, 1000).requires_grad_(), dict[int, int]()

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.numel()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        pair_gradient(errors, outputs, normal(2, 2, seed=1).requires_grad_(), left, right)
    assert kept.pop(outputs.untyped_storage().data_ptr()) == outputs.numel()
    assert 0 < max(kept.values()) <= 36
