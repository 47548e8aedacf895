from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnidistill.models.spectrum import Spectrum, spectrum

Normal = Callable[..., Tensor]


def unit(rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(rows, dim=-1)


def correlated(normal: Normal, num_instances: int, num_modalities: int, width: int, seed: int = 0) -> Tensor:
    """Unit embeddings (b, M, d) of modalities that agree: all cosines positive."""
    shared = 2 * normal(num_instances, 1, width, seed=seed)
    stacked = unit(shared + normal(num_instances, num_modalities, width, seed=seed + 1))
    assert ((stacked @ stacked.mT) > 0).all()
    return stacked


def with_gram(gram: list[list[float]], normal: Normal) -> Tensor:
    """Unit embeddings (1, M, M + 2) with the given Gram matrix, which may be singular."""
    eigenvalues, vectors = torch.linalg.eigh(torch.tensor(gram, dtype=torch.float64))
    root = vectors * eigenvalues.clamp_min(0).sqrt()
    basis = torch.linalg.qr(normal(len(gram) + 2, len(gram)))[0]
    return unit(root @ basis.mT).unsqueeze(0)


@given(num_modalities=st.integers(2, 6), num_instances=st.integers(1, 5), seed=st.integers(0, 999))
@settings(deadline=None, max_examples=25)
def test_is_the_singular_value_decomposition_of_z(
    normal: Normal, num_modalities: int, num_instances: int, seed: int
) -> None:
    stacked = unit(normal(num_instances, num_modalities, num_modalities + 3, seed=seed))
    found = spectrum(stacked @ stacked.mT)
    proxies = (found.weights().unsqueeze(-2) @ stacked).squeeze(-2)
    for i, z in enumerate(stacked.numpy()):
        u, sigma, v = np.linalg.svd(z, full_matrices=False)
        sign = np.sign(u[:, 0].sum()) if abs(u[:, 0].sum()) > 1e-7 else np.sign(u[0, 0])
        np.testing.assert_allclose(found.sigma[i], sigma, atol=1e-7)
        np.testing.assert_allclose(found.eigenvalues[i], sigma**2, atol=1e-12)
        np.testing.assert_allclose(found.vectors[i, :, 0], sign * u[:, 0], atol=1e-9)
        np.testing.assert_allclose(proxies[i], sign * v[0], atol=1e-9)  # Lemma 3
        np.testing.assert_allclose((found.vectors[i] * found.eigenvalues[i]) @ found.vectors[i].mT, z @ z.T, atol=1e-12)


def test_sign_rule_points_along_the_mean_where_the_raw_decomposition_does_not(normal: Normal) -> None:
    stacked = correlated(normal, 200, 3, 16)
    found = spectrum(stacked @ stacked.mT)
    first = found.vectors[..., 0]
    assert (first > 0).all()  # Perron-Frobenius: one sign for all entries
    proxies = (found.weights().unsqueeze(-2) @ stacked).squeeze(-2)
    assert ((proxies * stacked.mean(1)).sum(-1) > 0).all()
    raw = np.linalg.svd(stacked.mT.numpy(), full_matrices=False)[2][:, 0]  # PMRL's layout, d x M
    share = (raw.sum(-1) > 0).mean()
    assert 0 < share < 1
    eigh = torch.linalg.eigh(stacked @ stacked.mT)[1][..., -1].sum(-1)
    assert (eigh < 0).any()


def test_sign_rule_without_a_majority_lets_the_first_entry_decide() -> None:
    gram = torch.tensor([[1.0, -0.6], [-0.6, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(
        spectrum(gram[None]).vectors[0, :, 0], torch.tensor([1, -1], dtype=torch.float64) / 2**0.5
    )


def test_two_modalities_have_a_formula(normal: Normal) -> None:
    stacked = correlated(normal, 20, 2, 8)
    cosine = (stacked[:, 0] * stacked[:, 1]).sum(-1)
    found = spectrum(stacked @ stacked.mT)
    torch.testing.assert_close(found.sigma, torch.stack([(1 + cosine).sqrt(), (1 - cosine).sqrt()], -1))
    proxies = (found.weights().unsqueeze(-2) @ stacked).squeeze(-2)
    torch.testing.assert_close(proxies, unit(stacked.sum(1)))


def test_leading_dimensions_are_a_loop(normal: Normal) -> None:
    stacked = unit(normal(2, 3, 4, 5, 7))
    gram = stacked @ stacked.mT
    whole = spectrum(gram)
    for r in range(2):
        for s in range(3):
            alone = spectrum(gram[r, s])
            torch.testing.assert_close(whole.sigma[r, s], alone.sigma)
            torch.testing.assert_close(whole.vectors[r, s], alone.vectors)
            torch.testing.assert_close(whole.weight_rates()[r, s], alone.weight_rates())


def basis_free(stacked: Tensor) -> Tensor:
    """Eigenvalues and the consensus direction: what the objectives read, and unique unless lambda_1 is repeated."""
    found = spectrum(stacked @ stacked.mT)
    return torch.cat([found.eigenvalues, (found.weights().unsqueeze(-2) @ stacked).squeeze(-2)], -1)


@pytest.mark.parametrize("num_modalities", [2, 3, 4])
def test_derivatives_of_first_and_second_order(normal: Normal, num_modalities: int) -> None:
    stacked = correlated(normal, 2, num_modalities, 6).requires_grad_()
    assert torch.autograd.gradcheck(basis_free, (stacked,))
    cotangent = normal(2, num_modalities + 6, seed=9).requires_grad_()
    assert torch.autograd.gradgradcheck(basis_free, (stacked,), grad_outputs=(cotangent,))


def test_derivative_of_the_consensus_is_exact_where_the_other_eigenvalues_coincide(normal: Normal) -> None:
    stacked = with_gram([[1, 0.5, 0.5], [0.5, 1, 0.5], [0.5, 0.5, 1]], normal).requires_grad_()
    eigenvalues = spectrum(stacked @ stacked.mT).eigenvalues.detach()
    torch.testing.assert_close(eigenvalues, torch.tensor([[2, 0.5, 0.5]], dtype=torch.float64))

    def consensus(z: Tensor) -> Tensor:
        found = spectrum(z @ z.mT)
        return torch.cat([found.sigma[..., :1], (found.weights().unsqueeze(-2) @ z).squeeze(-2)], -1)

    assert torch.autograd.gradcheck(consensus, (stacked,))


GRAMS = {
    "identical": [[1.0, 1, 1], [1, 1, 1], [1, 1, 1]],
    "orthogonal": [[1.0, 0, 0], [0, 1, 0], [0, 0, 1]],
    "all opposed": [[1.0, -0.5, -0.5], [-0.5, 1, -0.5], [-0.5, -0.5, 1]],
    "two identical": [[1.0, 1, 0], [1, 1, 0], [0, 0, 1]],
    "lambda_1 almost repeated": [[1.0, 1e-9, 0], [1e-9, 1, 0], [0, 0, 1]],
    "lambda_2 almost repeated": [[1.0, 0.5 + 1e-9, 0.5], [0.5 + 1e-9, 1, 0.5], [0.5, 0.5, 1]],
    "a zero row": [[1.0, 0.3, 0], [0.3, 1, 0], [0, 0, 0]],
    "nothing": [[0.0, 0, 0], [0, 0, 0], [0, 0, 0]],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", GRAMS)
def test_degenerate_spectra_stay_finite_to_second_order(normal: Normal, name: str, dtype: torch.dtype) -> None:
    gram = torch.tensor([GRAMS[name]], dtype=dtype).requires_grad_()
    found = spectrum(gram)
    pieces = [found.eigenvalues, found.sigma, found.weights(), found.weight_rates(), found.weight_rates(1)]
    value = sum((piece * normal(*piece.shape, seed=k).to(dtype)).sum() for k, piece in enumerate(pieces))
    (first,) = torch.autograd.grad(value, gram, create_graph=True)
    (second,) = torch.autograd.grad((first * normal(1, 3, 3, seed=7).to(dtype)).sum(), gram)
    for tensor in (*pieces, first, second):
        assert tensor.isfinite().all()
    assert (found.sigma > 0).all()


def test_sigma_is_floored_at_the_rounding_level() -> None:
    for dtype in (torch.float32, torch.float64):
        found = spectrum(torch.ones(1, 2, 2, dtype=dtype))
        torch.testing.assert_close(found.sigma[0, 0].item(), 2**0.5)
        assert 0 < found.sigma[0, 1] < 5 * torch.finfo(dtype).eps ** 0.5


@pytest.mark.parametrize("mode", [0, 1])
def test_weight_rates_are_the_first_order_perturbation(normal: Normal, mode: int) -> None:
    stacked = correlated(normal, 1, 3, 6)
    gram, turn = stacked @ stacked.mT, normal(1, 3, 3, seed=5)
    turn = turn + turn.mT
    found = spectrum(gram)
    step = 1e-6
    moved = spectrum(gram + step * turn).weights(mode) - spectrum(gram - step * turn).weights(mode)
    inner = (found.vectors.mT @ turn @ found.vectors[..., mode : mode + 1]).squeeze(-1)
    expected = (found.vectors @ (found.weight_rates(mode) * inner).unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(moved / (2 * step), expected / found.sigma[..., mode : mode + 1], rtol=1e-6, atol=1e-8)


def test_weight_rates_vanish_where_gaps_do() -> None:
    found = spectrum(torch.eye(3, dtype=torch.float64)[None])
    torch.testing.assert_close(found.weight_rates(), torch.tensor([[-0.5, 0, 0]], dtype=torch.float64))


def test_weights_are_the_coefficients_of_lemma_3() -> None:
    vectors = torch.eye(2, dtype=torch.float64)[None]
    found = Spectrum(torch.tensor([[4.0, 1.0]]), vectors, torch.tensor([[2.0, 1.0]], dtype=torch.float64))
    torch.testing.assert_close(found.weights(), torch.tensor([[0.5, 0.0]], dtype=torch.float64))
