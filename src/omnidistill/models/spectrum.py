"""The consensus of an instance: spectrum of its Gram matrix and the proxy direction (HoPA, arXiv 2604.10666, eq. 1,
5, 6; Lemma 3).

An instance has one unit embedding per modality, Z in R^{M x d}. With G = Z Z^T = U diag(lambda) U^T (M x M, tiny) the
singular values are sigma = sqrt(lambda) and the consensus direction is v_1 = Z^T u_1 / sigma_1, written here as v_1 =
Z^T a with a = u_1 / sigma_1.

An SVD fixes v_1 only up to sign, and the proxy similarity s_ij = v_i . v_j is not invariant to it. Sign rule: flip so
that sum_m u_1m >= 0, i.e. v_1 points along the mean of the modality embeddings (unique when all cosines are positive,
by Perron-Frobenius). Where the sum vanishes (M = 2 with a negative cosine: u_1 = (1, -1) / sqrt 2) no rule can be
symmetric in the modalities; the first entry decides.

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
    """Spectrum of one Gram matrix per instance, eigenvalues descending."""

    eigenvalues: Float[Tensor, "*r b M"]
    vectors: Float[Tensor, "*r b M M"]  # column k belongs to eigenvalue k; column 0 obeys the sign rule
    sigma: Float[Tensor, "*r b M"]  # singular values of Z, floored at sqrt(eps)

    def weights(self, mode: int = 0) -> Float[Tensor, "*r b M"]:
        """Coefficients a = u_k / sigma_k of the k-th right singular vector, v_k = sum_m a_m z_m."""
        return self.vectors[..., mode] / self.sigma[..., mode : mode + 1]

    def weight_rates(self, mode: int = 0) -> Float[Tensor, "*r b M"]:
        """How a = u_k / sigma_k turns with G, in the eigenbasis: gamma_l = 1 / (lambda_k - lambda_l), gamma_k = -1 /
        (2 lambda_k).

        da = U (gamma o (U^T dG u_k)) / sigma_k; kept finite where a gap vanishes.
        """
        own = -0.5 / self.sigma[..., mode : mode + 1].square()
        before = self.eigenvalues[..., mode : mode + 1] - self.eigenvalues[..., :mode]
        after = self.eigenvalues[..., mode : mode + 1] - self.eigenvalues[..., mode + 1 :]
        return torch.cat([_inverse(before), own, _inverse(after)], dim=-1)


def spectrum(gram: Float[Tensor, "*r b M M"]) -> Spectrum:
    """Eigen-decomposition of symmetric Gram matrices, differentiable any number of times, finite at repeated
    eigenvalues.

    Eigenvalues are floored at the rounding level of the dtype before the square root.
    """
    eigenvalues, vectors = _Eigh.apply(gram)  # type: ignore[no-untyped-call]
    sigma = eigenvalues.clamp_min(_floor(gram.dtype)).sqrt()
    return Spectrum(eigenvalues, vectors, sigma)


def _floor(dtype: torch.dtype) -> float:
    return 8 * torch.finfo(dtype).eps


def _inverse(gaps: Tensor) -> Tensor:
    """1 / gap; 0, with derivative 0, where the gap is below rounding."""
    apart = gaps.abs() > _floor(gaps.dtype)
    return torch.where(apart, gaps, 1).reciprocal() * apart


class _Eigh(torch.autograd.Function):
    """`torch.linalg.eigh`, descending, sign rule applied, with a backward that stays finite at repeated eigenvalues.

    dU = U (F o U^T dG U), F_jk = 1 / (lambda_k - lambda_j). Where two eigenvalues coincide the functions used here do
    not depend on the basis chosen inside the pair, so that entry of the cotangent vanishes and F may be set to 0.
    (Not to gap / (gap^2 + eps^2): its slope at 0, met on the diagonal, is 1 / eps^2 and drowns the second derivative.)
    """

    @staticmethod
    def forward(ctx: Any, gram: Tensor) -> tuple[Tensor, Tensor]:
        if not bool(torch.isfinite(gram).all()):  # NaN in, NaN out, as elsewhere; LAPACK would raise
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
