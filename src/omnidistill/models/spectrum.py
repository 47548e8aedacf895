"""Spectrum of the Gram matrix of an instance, and its consensus direction (HoPA, arXiv 2604.10666, eq. 1, 5, 6).

An instance has one unit embedding per modality, Z in R^{M x d}. With G = Z Z^T = U diag(lambda) U^T (M x M, tiny), the
singular values are sigma = sqrt(lambda), and the consensus direction (the proxy of the paper, Lemma 3) is
v_1 = Z^T u_1 / sigma_1, written here as v_1 = Z^T a with a = u_1 / sigma_1.

An SVD determines v_1 only up to its sign, and the proxy similarity s_ij = v_i . v_j depends on it. Sign rule: flip v_1
so that sum_m u_1m >= 0, i.e. v_1 points along the mean of the modality embeddings (unique when all cosines are
positive, by Perron-Frobenius). Where the sum vanishes (M = 2 with a negative cosine: u_1 = (1, -1) / sqrt 2), no rule
can be symmetric in the modalities, and the sign of the first entry decides.

Shapes: b instances, M modalities; `*r` leading run dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Spectrum:
    """Spectra of the Gram matrices of a batch, with descending eigenvalues."""

    eigenvalues: Float[Tensor, "*r b M"]
    vectors: Float[Tensor, "*r b M M"]  # column k belongs to eigenvalue k; the sign rule holds
    sigma: Float[Tensor, "*r b M"]  # singular values of Z, floored at sqrt(eps)

    def weights(self, mode: int = 0) -> Float[Tensor, "*r b M"]:
        """Return the coefficients a = u_k / sigma_k of the k-th right singular vector, v_k = sum_m a_m z_m."""
        return self.vectors[..., mode] / self.sigma[..., mode : mode + 1]

    def weight_rates(self, mode: int = 0) -> Float[Tensor, "*r b M"]:
        """Return the factors gamma in the first-order perturbation of a = u_k / sigma_k.

            da = U (gamma o (U^T dG u_k)) / sigma_k,  gamma_l = 1 / (lambda_k - lambda_l),  gamma_k = -1 / (2 lambda_k)

        gamma_l is 0 where the gap vanishes.
        """
        own = -0.5 / self.sigma[..., mode : mode + 1].square()
        before = self.eigenvalues[..., mode : mode + 1] - self.eigenvalues[..., :mode]
        after = self.eigenvalues[..., mode : mode + 1] - self.eigenvalues[..., mode + 1 :]
        return torch.cat([_inverse(before), own, _inverse(after)], dim=-1)


def spectrum(gram: Float[Tensor, "*r b M M"]) -> Spectrum:
    """Return the eigendecomposition of symmetric Gram matrices.

    It is differentiable any number of times, with finite derivatives at repeated eigenvalues. Eigenvalues are clamped
    at the rounding level of the dtype before the square root.
    """
    eigenvalues, vectors = _Eigh.apply(gram)  # type: ignore[no-untyped-call]
    sigma = eigenvalues.clamp_min(_floor(gram.dtype)).sqrt()
    return Spectrum(eigenvalues, vectors, sigma)


def _floor(dtype: torch.dtype) -> float:
    return 8 * torch.finfo(dtype).eps


def _inverse(gaps: Tensor) -> Tensor:
    """Return 1 / gap, or 0 with derivative 0 where the gap is below rounding."""
    is_distinct = gaps.abs() > _floor(gaps.dtype)
    return torch.where(is_distinct, gaps, 1).reciprocal() * is_distinct


class _Eigh(torch.autograd.Function):
    """`torch.linalg.eigh` with descending eigenvalues and the sign rule, and a finite backward at repeated eigenvalues.

    dU = U (F o U^T dG U), F_jk = 1 / (lambda_k - lambda_j). Where two eigenvalues coincide, the functions of this
    module do not depend on the choice of basis within the pair, so that entry of the cotangent vanishes and F may be
    set to 0. (gap / (gap^2 + eps^2) instead has the slope 1 / eps^2 at 0, which occurs on the diagonal and swamps the
    second derivative.)
    """

    @staticmethod
    def forward(ctx: Any, gram: Tensor) -> tuple[Tensor, Tensor]:
        if not bool(torch.isfinite(gram).all()):  # propagate NaN, as torch does; LAPACK would raise
            ctx.save_for_backward(gram[..., 0] * torch.nan, gram * torch.nan)
            return gram[..., 0] * torch.nan, gram * torch.nan
        eigenvalues, vectors = torch.linalg.eigh(gram)
        eigenvalues, vectors = eigenvalues.flip(-1), vectors.flip(-1)
        totals = vectors.sum(-2, keepdim=True)
        totals = torch.where(totals.abs() < torch.finfo(gram.dtype).eps ** 0.5, vectors[..., :1, :], totals)
        vectors = torch.where(totals < 0, -vectors, vectors)
        ctx.save_for_backward(eigenvalues, vectors)
        return eigenvalues, vectors

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        eigenvalues, vectors = ctx.saved_tensors
        grad_values, grad_vectors = grads
        gaps = eigenvalues.unsqueeze(-2) - eigenvalues.unsqueeze(-1)
        inner = (vectors.mT @ grad_vectors) * _inverse(gaps)
        inner = inner + torch.diag_embed(grad_values)
        result: Tensor = vectors @ (0.5 * (inner + inner.mT)) @ vectors.mT
        return result
