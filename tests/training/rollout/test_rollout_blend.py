"""Blending: the mixture itself, and that all three rollouts train on it alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from omnidistill.models.objectives import Hopa, PairwiseWbce
from omnidistill.training.rollout import Blend, Rollout, Target, bptt_rollout, dual_rollout, tesla_rollout

Normal = Callable[..., Tensor]
WIDTHS = {"a": 6, "b": 5, "c": 7}


def setup(normal: Normal, num_steps: int) -> tuple[dict[str, Tensor], Target, dict[str, Tensor], Tensor, Blend]:
    start = {name: normal(4, width, seed=width) for name, width in WIDTHS.items()}
    goal = {name: matrix + 0.1 * normal(*matrix.shape, seed=9) for name, matrix in start.items()}
    rows = {name: (normal(8, width, seed=20 + width)).requires_grad_() for name, width in WIDTHS.items()}
    generator = torch.Generator().manual_seed(3)
    batches = torch.stack([torch.randperm(8, generator=generator)[:4] for _ in range(num_steps)])
    drawn = Blend.draw(num_steps, 4, generator)
    return start, Target.between(start, goal), rows, batches, Blend(drawn.weights.double(), drawn.partners)


def losses_and_gradients(rollout: Rollout, normal: Normal, num_steps: int, *, momentum: float = 0.0) -> list[Tensor]:
    start, target, rows, batches, blend = setup(normal, num_steps)
    targets = torch.eye(4, dtype=torch.float64).repeat(num_steps, 1, 1).requires_grad_()
    sizes = torch.full((3,), 0.3, dtype=torch.float64, requires_grad=True)
    end = rollout(PairwiseWbce(), start, rows, targets, batches, sizes, momentum=momentum, blend=blend)
    losses = end.squared_distances(target)
    return [losses, *torch.autograd.grad(losses.sum(), [*rows.values(), targets, sizes])]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_dual_is_bptt(normal: Normal, momentum: float) -> None:
    dual = losses_and_gradients(dual_rollout, normal, 5, momentum=momentum)
    bptt = losses_and_gradients(bptt_rollout, normal, 5, momentum=momentum)
    for found, expected in zip(dual, bptt, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_tesla_is_exact_for_one_step(normal: Normal) -> None:
    tesla = losses_and_gradients(tesla_rollout, normal, 1)
    for found, expected in zip(tesla, losses_and_gradients(bptt_rollout, normal, 1), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_a_step_trains_on_the_mixture(normal: Normal) -> None:
    start, _, rows, batches, blend = setup(normal, 1)
    mixed = {}
    for name, matrix in rows.items():
        batch, weight = matrix[batches[0]], blend.weights[0]
        mixed[name] = torch.stack(
            [weight * batch[i] + (1 - weight) * batch[j] for i, j in enumerate(blend.partners[0])]
        )
    targets, sizes = torch.eye(4, dtype=torch.float64)[None], torch.ones(3, dtype=torch.float64)
    found = dual_rollout(Hopa(), start, rows, targets, batches, sizes, blend=blend).heads()
    expected = bptt_rollout(Hopa(), start, mixed, targets, torch.arange(4)[None], sizes).heads()
    for name in start:
        torch.testing.assert_close(found[name], expected[name])


def test_spread_is_the_transpose_of_mix(normal: Normal) -> None:
    blend = Blend.draw(2, 5, torch.Generator().manual_seed(0))
    blend = Blend(blend.weights.double(), blend.partners)
    x, y = normal(5, 3), normal(5, 3, seed=1)
    torch.testing.assert_close((blend.mix(1, x) * y).sum(), (x * blend.spread(1, y)).sum())


def test_weight_one_changes_nothing(normal: Normal) -> None:
    blend = Blend(torch.ones(1, dtype=torch.float64), torch.tensor([[2, 0, 1]]))
    torch.testing.assert_close(blend.mix(0, normal(3, 2)), normal(3, 2))
