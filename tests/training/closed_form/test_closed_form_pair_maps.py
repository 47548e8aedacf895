"""Linear maps between two spaces against least squares in numpy float64, and against what they must minimise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from omnidistill.training.closed_form.pair_maps import PairMoments, shared_rows, solved_rows

Array = NDArray[np.float64]


def drawn(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def tensor(x: Array) -> torch.Tensor:
    return torch.from_numpy(x)


def ridge_by_lstsq(x: Array, y: Array, penalty: float) -> Array:
    """argmin ||X M - Y||^2 + penalty ||M||^2, as ordinary least squares with additional rows."""
    p = x.shape[1]
    rows, targets = np.vstack([x, penalty**0.5 * np.eye(p)]), np.vstack([y, np.zeros((p, y.shape[1]))])
    return np.linalg.lstsq(rows, targets, rcond=None)[0]


@pytest.mark.parametrize("shape", [(5, 9, 7), (12, 6, 8)])
def test_rows_give_ridge_regression(shape: tuple[int, int, int]) -> None:
    n, p, q = shape
    r, t, ridge = drawn(n, p), drawn(n, q, seed=1), 0.3
    matrix = r.T @ solved_rows(tensor(r), tensor(t), ridge).numpy()
    expected = ridge_by_lstsq(r, t, ridge * float((r**2).sum(1).mean()))
    np.testing.assert_allclose(matrix, expected, atol=1e-10)


def test_the_gradient_of_the_solve_is_exact() -> None:
    r, t, ridge = tensor(drawn(4, 6)), tensor(drawn(4, 5, seed=1)), torch.tensor(0.2, dtype=torch.float64)
    assert torch.autograd.gradcheck(solved_rows, tuple(x.requires_grad_() for x in (r, t, ridge)))


def test_ridge_regression_on_all_pairs() -> None:
    x, y, ridge = drawn(40, 6), drawn(40, 5, seed=1), 0.1
    moments = PairMoments.of(tensor(x), tensor(y))
    expected = ridge_by_lstsq(x, y, ridge * float((x**2).sum() / 6))
    np.testing.assert_allclose(moments.ridge_map(ridge).numpy(), expected, atol=1e-10)


def test_sums_over_many_chunks_do_not_lose_pairs() -> None:
    x = drawn(2500, 3)
    moments = PairMoments.of(tensor(x), tensor(x))
    np.testing.assert_allclose(moments.cross.numpy(), x.T @ x, rtol=1e-12)
    np.testing.assert_allclose(moments.values.numpy(), np.linalg.eigvalsh(x.T @ x), rtol=1e-10)


def test_no_map_of_the_same_rank_fits_better() -> None:
    x, y, rank = drawn(60, 7), drawn(60, 6, seed=1) + drawn(60, 7) @ drawn(7, 6, seed=2), 2
    moments = PairMoments.of(tensor(x), tensor(y))
    matrix = moments.ridge_map(1e-12)
    basis = moments.leading_outputs(matrix, rank)
    low = (matrix @ basis @ basis.mT).numpy()
    assert np.linalg.matrix_rank(low) == rank
    fitted = x @ ridge_by_lstsq(x, y, 0.0)
    left, values, right = np.linalg.svd(fitted, full_matrices=False)  # Eckart and Young
    best = (left[:, :rank] * values[:rank]) @ right[:rank]
    np.testing.assert_allclose(x @ low, best, atol=1e-6)


@pytest.mark.parametrize("q", [4, 6, 8])
def test_procrustes_is_orthogonal_and_recovers_a_rotation(q: int) -> None:
    x = drawn(50, 6)
    rotation = np.linalg.qr(drawn(max(6, q), max(6, q), seed=1))[0][:6, :q]
    matrix = PairMoments.of(tensor(x), tensor(x @ rotation)).procrustes_map().numpy()
    smaller = matrix @ matrix.T if q >= 6 else matrix.T @ matrix
    np.testing.assert_allclose(smaller, np.eye(min(6, q)), atol=1e-10)
    if q >= 6:
        np.testing.assert_allclose(matrix, rotation, atol=1e-8)


def test_shared_rows_are_mixtures_by_canonical_variates() -> None:
    """Against the generalised eigenvalue problem of CCA. Gram-Schmidt makes every mixture unique up to its sign."""
    z = drawn(400, 3)
    x = np.hstack([z, 5 * drawn(400, 5, seed=1)]) @ drawn(8, 8, seed=3)
    y = np.hstack([z @ drawn(3, 3, seed=4), drawn(400, 4, seed=2)]) @ drawn(7, 7, seed=5)
    x, y, ridge = x - x.mean(0), y - y.mean(0), 0.01
    s, t = (m.T @ m + ridge * (m**2).sum() / m.shape[1] * np.eye(m.shape[1]) for m in (x, y))
    correlations = np.linalg.solve(s, x.T @ y) @ np.linalg.solve(t, y.T @ x)
    values, vectors = np.linalg.eig(correlations)
    w = vectors[:, np.argsort(-values.real)[:3]].real
    w /= np.sqrt(np.einsum("pi,pq,qi->i", w, s, w))
    v = np.linalg.solve(t, y.T @ x @ w)
    v /= np.sqrt(np.einsum("pi,pq,qi->i", v, t, v))
    basis = np.linalg.qr(x @ w + y @ v)[0]
    moments = PairMoments.of(tensor(x), tensor(y)), PairMoments.of(tensor(y), tensor(x))
    rows, paired = (part.numpy() for part in shared_rows(tensor(x), tensor(y), moments, 3, ridge))
    lengths = ((rows**2).mean(1) * (paired**2).mean(1)) ** 0.25
    np.testing.assert_allclose(lengths, 1.0, atol=1e-8)
    for row, pair, mixture in zip(rows, paired, basis.T, strict=True):
        expected = np.concatenate([mixture @ x, mixture @ y])
        given = np.concatenate([row, pair])
        cosine = given @ expected / np.linalg.norm(given) / np.linalg.norm(expected)
        assert abs(cosine) == pytest.approx(1.0, abs=1e-6)


def test_as_many_shared_rows_as_pairs_give_the_map_of_all_pairs() -> None:
    x, y = drawn(5, 8), drawn(5, 7, seed=1)
    moments = PairMoments.of(tensor(x), tensor(y)), PairMoments.of(tensor(y), tensor(x))
    rows, paired = shared_rows(tensor(x), tensor(y), moments, 5, 0.1)
    from_rows = rows.mT @ solved_rows(rows, paired, 1e-9)
    np.testing.assert_allclose(from_rows.numpy(), np.linalg.pinv(x) @ y, atol=1e-5)
