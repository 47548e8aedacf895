"""Laws of every built-in objective; hypothesis draws M, b, d, targets and settings."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnidistill.models.objectives import Hopa, InfoNCE, Objective, PairwiseWbce

Normal = Callable[..., Tensor]

OBJECTIVES = st.one_of(
    st.builds(
        Hopa,
        tau_mod=st.floats(0.1, 1),
        tau_ins=st.floats(0.1, 1),
        lambda_ins=st.floats(0, 2),
        reduction=st.sampled_from(["sum", "mean"]),
    ),
    st.builds(PairwiseWbce, tau=st.floats(0.1, 1), anchor=st.sampled_from([None, 0, 1])),
    st.builds(InfoNCE, tau=st.floats(0.1, 1), anchor=st.sampled_from([None, 0, 1])),
)
MODALITIES, SIZES, SEEDS = st.integers(2, 6), st.integers(1, 5), st.integers(0, 10**6)
few = settings(deadline=None, max_examples=30)


def correlated(normal: Normal, num_modalities: int, size: int, seed: int, *, width: int = 8) -> Tensor:
    """Head outputs of any length whose modalities agree (all cosines of an instance positive)."""
    shared = torch.nn.functional.normalize(normal(1, size, width, seed=seed), dim=-1)
    own = torch.nn.functional.normalize(normal(num_modalities, size, width, seed=seed + 1), dim=-1)
    lengths = 0.5 + normal(num_modalities, size, 1, seed=seed + 2).abs()
    return lengths * (shared + 0.4 * own)


def affinities(normal: Normal, size: int, seed: int, *, symmetric: bool = False) -> Tensor:
    """Targets in (0, 1), none near the threshold, larger on the diagonal."""
    draw = torch.sigmoid(normal(size, size, seed=seed + 3))
    draw = 0.45 * (draw + draw.mT) / 2 if symmetric else 0.45 * draw
    return draw + 0.5 * torch.eye(size, dtype=torch.float64) + 0.01


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


@given(objective=OBJECTIVES, num_modalities=MODALITIES, size=SIZES, seed=SEEDS, data=st.data())
@few
def test_permuting_items_permutes_the_gradient(
    normal: Normal, objective: Objective, num_modalities: int, size: int, seed: int, data: st.DataObject
) -> None:
    outputs, targets = correlated(normal, num_modalities, size, seed), affinities(normal, size, seed)
    items = data.draw(st.permutations(range(size)))
    permuted = targets[items][:, items]
    close(objective.value(outputs[:, items], permuted), objective.value(outputs, targets))
    close(objective.gradient(outputs[:, items], permuted), objective.gradient(outputs, targets)[:, items])


@given(
    objective=OBJECTIVES.filter(lambda o: getattr(o, "anchor", None) is None),
    num_modalities=MODALITIES,
    size=SIZES,
    seed=SEEDS,
    data=st.data(),
)
@few
def test_the_order_of_modalities_does_not_matter(
    normal: Normal, objective: Objective, num_modalities: int, size: int, seed: int, data: st.DataObject
) -> None:
    """For HoPA with any S; for a pairwise objective, whose S_ij speaks of row i of the earlier modality, if S = S^T."""
    outputs = correlated(normal, num_modalities, size, seed)
    targets = affinities(normal, size, seed, symmetric=not isinstance(objective, Hopa))
    modalities = data.draw(st.permutations(range(num_modalities)))
    close(objective.value(outputs[modalities], targets), objective.value(outputs, targets))
    close(objective.gradient(outputs[modalities], targets), objective.gradient(outputs, targets)[modalities])


@pytest.mark.parametrize("anchor", [0, 1, 2])
@pytest.mark.parametrize("kind", [PairwiseWbce, InfoNCE])
def test_the_anchor_may_stand_anywhere(normal: Normal, kind: type, anchor: int) -> None:
    outputs, targets = correlated(normal, 3, 4, 0), affinities(normal, 4, 0, symmetric=True)
    order = [anchor, *(m for m in range(3) if m != anchor)]
    close(kind(anchor=0).value(outputs[order], targets), kind(anchor=anchor).value(outputs, targets))
    close(kind(anchor=0).gradient(outputs[order], targets), kind(anchor=anchor).gradient(outputs, targets)[order])


@given(objective=OBJECTIVES, num_modalities=MODALITIES, size=SIZES, seed=SEEDS, magnitude=st.floats(-2, 2))
@few
def test_the_length_of_an_output_changes_the_gradient_inversely_and_the_value_not_at_all(
    normal: Normal, objective: Objective, num_modalities: int, size: int, seed: int, magnitude: float
) -> None:
    outputs, targets = correlated(normal, num_modalities, size, seed), affinities(normal, size, seed)
    scale = torch.exp(magnitude * normal(num_modalities, size, 1, seed=seed + 4))
    close(objective.value(scale * outputs, targets), objective.value(outputs, targets))
    close(scale * objective.gradient(scale * outputs, targets), objective.gradient(outputs, targets))


@given(objective=OBJECTIVES, num_modalities=MODALITIES, size=SIZES, seed=SEEDS)
@few
def test_the_gradient_is_orthogonal_to_the_output(
    normal: Normal, objective: Objective, num_modalities: int, size: int, seed: int
) -> None:
    outputs, targets = correlated(normal, num_modalities, size, seed), affinities(normal, size, seed)
    radial = (objective.gradient(outputs, targets) * outputs).sum(-1)
    close(radial, torch.zeros_like(radial))


@given(objective=OBJECTIVES, num_modalities=MODALITIES, size=SIZES, seed=SEEDS)
@few
def test_the_gradient_turns_with_the_embedding_space(
    normal: Normal, objective: Objective, num_modalities: int, size: int, seed: int
) -> None:
    outputs, targets = correlated(normal, num_modalities, size, seed), affinities(normal, size, seed)
    rotation = torch.linalg.qr(normal(8, 8, seed=seed + 5))[0]
    close(objective.value(outputs @ rotation, targets), objective.value(outputs, targets))
    close(objective.gradient(outputs @ rotation, targets), objective.gradient(outputs, targets) @ rotation)


@given(objective=OBJECTIVES, num_modalities=MODALITIES, size=SIZES, seed=SEEDS)
@few
def test_closed_form_is_the_derivative_of_the_value(
    normal: Normal, objective: Objective, num_modalities: int, size: int, seed: int
) -> None:
    outputs, targets = correlated(normal, num_modalities, size, seed).requires_grad_(), affinities(normal, size, seed)
    (expected,) = torch.autograd.grad(objective.value(outputs, targets), outputs)
    close(objective.gradient(outputs, targets), expected)


@given(
    objective=OBJECTIVES, num_modalities=MODALITIES, size=SIZES, seed=SEEDS, runs=st.sampled_from([(1,), (3,), (2, 2)])
)
@few
def test_leading_dimensions_are_a_loop(
    normal: Normal, objective: Objective, num_modalities: int, size: int, seed: int, runs: tuple[int, ...]
) -> None:
    count = torch.Size(runs).numel()
    outputs = torch.stack([correlated(normal, num_modalities, size, seed + 10 * r) for r in range(count)])
    targets = torch.stack([affinities(normal, size, seed + 10 * r) for r in range(count)])
    several = outputs.view(*runs, *outputs.shape[1:]), targets.view(*runs, size, size)
    alone = list(zip(outputs, targets, strict=True))
    values = torch.stack([objective.value(*one) for one in alone])
    gradients = torch.stack([objective.gradient(*one) for one in alone])
    close(objective.value(*several), values.view(runs))
    close(objective.gradient(*several), gradients.view(several[0].shape))


def identical(normal: Normal, size: int) -> Tensor:
    return normal(1, 1, 6).expand(3, size, 6)


def identical_modalities(normal: Normal, size: int) -> Tensor:
    return normal(1, size, 6).expand(3, size, 6)


def orthogonal(normal: Normal, size: int) -> Tensor:
    return torch.eye(6, dtype=torch.float64)[:3, None].expand(3, size, 6)


def opposed(normal: Normal, size: int) -> Tensor:
    draw = normal(3, size, 6)
    return torch.stack([draw[0], -draw[0], draw[2]])


def a_zero_row(normal: Normal, size: int) -> Tensor:
    draw = normal(3, size, 6)
    draw[1, 0] = 0
    return draw


def a_zero_modality(normal: Normal, size: int) -> Tensor:
    return normal(3, size, 6) * torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)[:, None, None]


def all_zero(normal: Normal, size: int) -> Tensor:
    return torch.zeros(3, size, 6, dtype=torch.float64)


def nearly_identical(normal: Normal, size: int) -> Tensor:
    return normal(1, size, 6) + 1e-4 * normal(3, size, 6, seed=1)


DEGENERATE = [
    identical, identical_modalities, orthogonal, opposed, a_zero_row, a_zero_modality, all_zero, nearly_identical,
]  # fmt: skip


@pytest.mark.parametrize("objective", [Hopa(), PairwiseWbce(), InfoNCE()], ids=["hopa", "pairwise", "infonce"])
@pytest.mark.parametrize("draw", DEGENERATE)
@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_degenerate_outputs_give_finite_numbers_to_second_order(
    normal: Normal, objective: Objective, draw: Callable[[Normal, int], Tensor], size: int, dtype: torch.dtype
) -> None:
    outputs = draw(normal, size).to(dtype).requires_grad_()
    targets = affinities(normal, size, 0).to(dtype).requires_grad_()
    value, gradient = objective.value(outputs, targets), objective.gradient(outputs, targets)
    by_autograd = torch.autograd.grad(value, outputs)[0]
    second = torch.autograd.grad((gradient * normal(*outputs.shape, seed=7).to(dtype)).sum(), (outputs, targets))
    for name, tensor in {"value": value, "gradient": gradient, "autograd": by_autograd, "second": second[0]}.items():
        assert tensor.isfinite().all(), name
    assert second[1].isfinite().all()


@pytest.mark.parametrize("objective", [Hopa(), PairwiseWbce(), InfoNCE()], ids=["hopa", "pairwise", "infonce"])
def test_float32_is_close_to_float64(normal: Normal, objective: Objective) -> None:
    outputs, targets = correlated(normal, 3, 12, 0, width=64), affinities(normal, 12, 0)
    cotangent = normal(*outputs.shape, seed=9)

    def orders(dtype: torch.dtype) -> list[Tensor]:
        y, s = outputs.to(dtype).requires_grad_(), targets.to(dtype).requires_grad_()
        gradient = objective.gradient(y, s)
        second = torch.autograd.grad((gradient * cotangent.to(dtype)).sum(), (y, s))
        return [objective.value(y, s), gradient, *second]

    for low, high in zip(orders(torch.float32), orders(torch.float64), strict=True):
        assert low.dtype == torch.float32
        assert (low.double() - high).norm() <= 1e-4 * high.norm()
