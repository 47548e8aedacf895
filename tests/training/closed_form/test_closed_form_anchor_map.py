"""The anchor map against least squares and normal equations in float64; its invariances, widths and canonical basis."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from closed_form_problems import paired
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnidistill.training.closed_form import accumulate_moments, ridge_cca_heads
from omnidistill.training.closed_form.anchor_map import (
    anchor_lengths,
    anchor_map,
    anchor_maps,
    canonical_basis,
    canonical_basis_of_outputs,
    dual_frame,
    to_width,
    unordered_to_width,
)

Normal = Callable[..., Tensor]
WIDTHS = {"red": 11, "green": 7}
RIDGES = (0.2, 0.03)
seeds = st.integers(0, 2**31)


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def rows_of(num_rows: int, seed: int) -> dict[str, Tensor]:
    return {name: draw(num_rows, width, seed=seed + width) for name, width in WIDTHS.items()}


def orthogonal(size: int, seed: int) -> Tensor:
    basis: Tensor = torch.linalg.qr(draw(size, size, seed=seed)).Q
    return basis


def assert_equal(one: Tensor, other: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("num_rows", "width"), [(5, 9), (9, 5), (6, 6), (1, 4)])
@pytest.mark.parametrize("ridge", [1e-3, 0.1, 2.0])
def test_it_minimises_the_regression_to_the_anchors(num_rows: int, width: int, ridge: float, normal: Normal) -> None:
    """Least squares on the augmented system [X; sqrt(lambda s) I] W^T = [I; 0], and the p x p normal equations."""
    x, anchors = normal(num_rows, width), torch.eye(num_rows, dtype=torch.float64)
    penalty = ridge * float(x.square().sum(1).mean())
    augmented = torch.cat([x, penalty**0.5 * torch.eye(width, dtype=torch.float64)])
    targets = torch.cat([anchors, torch.zeros(width, num_rows, dtype=torch.float64)])
    heads = anchor_map(x, ridge)
    assert_equal(heads, torch.linalg.lstsq(augmented, targets).solution.T)
    normal_equations = x.T @ x + penalty * torch.eye(width, dtype=torch.float64)
    assert_equal(heads, torch.linalg.solve(normal_equations, x.T).T)


@pytest.mark.parametrize("cutoff", [0.7, 3.0, 50.0])
def test_with_a_cutoff_it_minimises_the_regression_to_shorter_anchors(cutoff: float) -> None:
    """Least squares on [X; sqrt(lambda s) I] W^T = [diag(w); 0] with w_i = 1 / (1 + (i / k)^4), written out."""
    rows = rows_of(6, seed=3)
    heads = anchor_maps(rows, RIDGES, cutoff)
    lengths = torch.tensor([1 / (1 + (i / cutoff) ** 4) for i in range(1, 7)], dtype=torch.float64)
    assert_equal(anchor_lengths(6, cutoff), lengths)
    for (name, x), ridge in zip(rows.items(), RIDGES, strict=True):
        penalty, width = ridge * float(x.square().sum(1).mean()), x.shape[1]
        augmented = torch.cat([x, penalty**0.5 * torch.eye(width, dtype=torch.float64)])
        targets = torch.cat([torch.diag(lengths), torch.zeros(width, 6, dtype=torch.float64)])
        assert_equal(heads[name], torch.linalg.lstsq(augmented, targets).solution.T)
        assert_equal(to_width(heads, 2)[name], heads[name][:2])
    assert torch.equal(anchor_lengths(6, None), torch.ones(6, dtype=torch.float64))


@given(seeds, st.integers(2, 10))
def test_a_rotation_of_rows_and_anchors_changes_no_inner_product(seed: int, num_rows: int) -> None:
    rows, basis, queries = rows_of(num_rows, seed), orthogonal(num_rows, seed), rows_of(13, seed + 1)
    heads, rotated = anchor_maps(rows, RIDGES), anchor_maps({name: basis.T @ x for name, x in rows.items()}, RIDGES)
    for name in rows:
        assert_equal(rotated[name], basis.T @ heads[name])
    for one, other in (("red", "green"), ("red", "red")):
        outputs = [(queries[one] @ w[one].T) @ (queries[other] @ w[other].T).T for w in (heads, rotated)]
        assert_equal(outputs[0], outputs[1])


@given(seeds, st.floats(1e-3, 1e3))
def test_scaling_the_rows_scales_the_heads_inversely(seed: int, factor: float) -> None:
    rows = rows_of(6, seed)["red"]
    assert_equal(factor * anchor_map(factor * rows, 0.3), anchor_map(rows, 0.3))


@given(seeds, st.integers(1, 20))
def test_widths_are_nested_or_keep_all_inner_products(seed: int, width: int) -> None:
    size = 8
    heads = anchor_maps(rows_of(size, seed), RIDGES)
    result = to_width(heads, width)
    for one, other in (("red", "green"), ("green", "green")):
        assert result[one].shape == (width, WIDTHS[one])
        if width <= size:
            assert torch.equal(result[one], heads[one][:width])
        else:
            expected = heads[one].T @ heads[other]
            assert_equal(result[one].T @ result[other], expected, 1e-12)
            assert torch.equal(result[one], to_width(heads, width)[one])


@settings(max_examples=20)
@given(seeds, st.sampled_from([2, 3, 4]))
def test_the_canonical_basis_diagonalises_the_cross_covariance_of_the_outputs(seed: int, num_modalities: int) -> None:
    """By the definition, on the rows themselves: outputs, centred, and the sum over ordered pairs."""
    data = paired(num_modalities, rows=40, seed=seed % 100)
    moments = accumulate_moments(data, "rows")
    heads = {name: draw(6, width, seed=seed + width) for name, width in data.widths.items()}
    basis = canonical_basis(heads, moments)
    assert_equal(basis.T @ basis, torch.eye(6, dtype=torch.float64))
    outputs = {name: data.features[name].double() @ w.T for name, w in heads.items()}
    centred = [y - y.mean(0) for y in outputs.values()]
    total = torch.zeros(6, 6, dtype=torch.float64)
    for i, y in enumerate(centred):
        for j, z in enumerate(centred):
            total += y.T @ z if i != j else 0
    scale = float(total.abs().max())
    in_basis = basis.T @ total @ basis / scale
    assert_equal(in_basis, torch.diag(in_basis.diagonal()), 1e-6)
    assert bool((in_basis.diagonal().diff() <= 1e-6).all())
    peaks = basis.gather(0, basis.abs().argmax(0, keepdim=True))
    assert bool((peaks > 0).all())
    assert_equal(canonical_basis_of_outputs(outputs), basis, 1e-5)


def test_in_the_canonical_basis_the_basis_is_the_identity() -> None:
    data = paired(3)
    moments = accumulate_moments(data, "rows")
    heads, _ = ridge_cca_heads(moments, 6, 0.1, torch.float64)
    basis = canonical_basis(heads, moments)
    rotated = {name: basis.T @ w for name, w in heads.items()}
    assert_equal(canonical_basis(rotated, moments), torch.eye(6, dtype=torch.float64), 1e-7)


@pytest.mark.parametrize("size", [3, 7])
def test_the_map_of_the_dual_frame_is_the_heads(size: int) -> None:
    heads = {name: draw(size, width, seed=width) for name, width in WIDTHS.items()}
    again = anchor_maps(dual_frame(heads), (1e-10, 1e-10))
    for name, matrix in heads.items():
        assert_equal(again[name], matrix, 1e-6)


def test_the_dual_frame_of_heads_of_lower_rank_is_finite() -> None:
    heads = {"red": draw(6, 2, seed=0) @ draw(2, 11, seed=1)}
    frame = dual_frame(heads)["red"]
    assert frame.abs().max() < 100
    assert_equal(heads["red"] @ frame.T @ heads["red"], heads["red"])


def test_it_is_differentiable_in_rows_and_ridge(normal: Normal) -> None:
    rows = normal(4, 6).requires_grad_()
    ridge = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(anchor_map, (rows, ridge))


def test_every_modality_has_its_own_ridge() -> None:
    rows = rows_of(5, 0)
    for ridges in (RIDGES, torch.tensor(RIDGES, dtype=torch.float64)):
        heads = anchor_maps(rows, ridges)
        for name, ridge in zip(rows, RIDGES, strict=True):
            assert_equal(heads[name], anchor_map(rows[name], ridge))
    with pytest.raises(ValueError, match="shorter"):
        anchor_maps(rows, (0.1,))


def test_heads_of_unordered_rows_are_the_regression_to_random_anchors() -> None:
    """The anchors are orthonormal and the same for all modalities; every row counts; wider heads are embedded."""
    heads = anchor_maps(rows_of(6, 1), RIDGES)
    narrow = unordered_to_width(heads, 4)
    exact = {name: torch.linalg.lstsq(heads[name].T, matrix.T).solution.T for name, matrix in narrow.items()}
    anchors = next(iter(exact.values()))
    for each in exact.values():
        torch.testing.assert_close(each, anchors, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(anchors @ anchors.T, torch.eye(4, dtype=torch.float64))
    assert anchors.norm(dim=0).min() > 0.01
    for name, matrix in unordered_to_width(heads, 12).items():
        assert torch.equal(matrix, to_width(heads, 12)[name])
