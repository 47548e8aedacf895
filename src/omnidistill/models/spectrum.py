"""Spectrum and consensus direction of an instance, from its Gram matrix (HoPA, arXiv 2604.10666, eq. 1, 5, 6).

The unit embeddings of an instance are the rows of Z (M x d), one per modality. The Gram matrix is small (M x M):

    G = Z Z^T = U diag(lambda) U^T

The singular values of Z are sigma = sqrt(lambda). The consensus direction is the first right singular vector of Z (the
paper calls it proxy):

    v = Z^T a,   a = u_1 / sigma_1        u_1: first column of U

An SVD determines u_1 and v only up to a common sign. The sign matters, because inner products of consensus directions
measure the similarity of instances. It is chosen such that the entries of u_1 have a non-negative sum. If this sum is
zero, the first entry of u_1 is positive. The sum is zero if M = 2 and the two embeddings have a negative cosine.

Shapes: b instances, M modalities; `*r` stands for leading dimensions, one index per run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues in descending order, eigenvectors and singular values for a batch of Gram matrices."""

    eigenvalues: Float[Tensor, "*r b M"]
    vectors: Float[Tensor, "*r b M M"]  # column k belongs to eigenvalue k; the sign rule holds
    sigma: Float[Tensor, "*r b M"]  # singular values of Z, clamped from below at rounding level

    def weights(self, mode: int = 0) -> Float[Tensor, "*r b M"]:
        """Return the weights a with which a right singular vector is a weighted sum of the embeddings of an instance.

        The embeddings z_m are the rows of Z. The k-th right singular vector of Z is v_k = sum_m a_m z_m. The weights
        are a = u_k / sigma_k, where u_k is the k-th left singular vector and sigma_k the k-th singular value. The
        argument `mode` is k, counted from 0.
        """
        return self.vectors[..., mode] / self.sigma[..., mode : mode + 1]

    def weight_rates(self, mode: int = 0) -> Float[Tensor, "*r b M"]:
        """Return the factors gamma, which describe how the weights of a mode depend on the Gram matrix.

        Let G = U diag(lambda) U^T be the Gram matrix, u_k column k of U, and sigma_k^2 = lambda_k. The weights of mode
        k (the argument `mode`, counted from 0) are a = u_k / sigma_k (see `weights`). If G changes by dG, the weights
        change in first order by

            da = U (gamma o (U^T dG u_k)) / sigma_k        gamma_k = -1 / (2 lambda_k)
                                                           gamma_l = 1 / (lambda_k - lambda_l) for l != k

        where o is the elementwise product. If lambda_l = lambda_k, gamma_l is 0.
        """
        own = -0.5 / self.sigma[..., mode : mode + 1].square()
        before = self.eigenvalues[..., mode : mode + 1] - self.eigenvalues[..., :mode]
        after = self.eigenvalues[..., mode : mode + 1] - self.eigenvalues[..., mode + 1 :]
        return torch.cat([_inverse(before), own, _inverse(after)], dim=-1)


def spectrum(gram: Float[Tensor, "*r b M M"]) -> Spectrum:
    """Return the eigendecomposition of symmetric Gram matrices.

    The result can be differentiated any number of times, and its derivatives are finite at repeated eigenvalues.
    Singular values are square roots of the eigenvalues, where an eigenvalue below `least_eigenvalue` (the rounding
    level of the dtype) is replaced by this limit.
    """
    eigenvalues, vectors = _Eigh.apply(gram)  # type: ignore[no-untyped-call]
    sigma = eigenvalues.clamp_min(least_eigenvalue(gram.dtype)).sqrt()
    return Spectrum(eigenvalues, vectors, sigma)


def least_eigenvalue(dtype: torch.dtype) -> float:
    """Return the limit below which eigenvalues of Gram matrices are rounding errors and are clamped."""
    return 8 * torch.finfo(dtype).eps


def _inverse(gaps: Tensor) -> Tensor:
    """Return 1 / gap for gaps between eigenvalues. Where a gap is only rounding error, return 0 with derivative 0."""
    is_distinct = gaps.abs() > least_eigenvalue(gaps.dtype)
    return torch.where(is_distinct, gaps, 1).reciprocal() * is_distinct


class _Eigh(torch.autograd.Function):
    """`torch.linalg.eigh` with descending eigenvalues, fixed signs, and finite gradients at repeated eigenvalues.

    The sign of each eigenvector is chosen such that the sum of its entries is not negative. If a symmetric matrix
    G = U diag(lambda) U^T changes by dG, its eigenvectors change by

        dU = U (F o U^T dG U)        F_jk = 1 / (lambda_k - lambda_j) for j != k,   F_kk = 0

    where o is the elementwise product. If lambda_j = lambda_k, their eigenvectors are not unique, and F_jk is set to 0.
    The gradient is still exact if the loss does not depend on these two eigenvectors, because F_jk and F_kj are then
    multiplied by 0. For example, lambda_2 = lambda_3 does no harm if the loss uses only the eigenvector u_1.

    With gap = lambda_k - lambda_j, a common replacement for 1 / gap is gap / (gap^2 + eps^2). It is not used here,
    because its slope at gap = 0 is 1 / eps^2. On the diagonal of F, every gap is 0, so this large slope would dominate
    second derivatives.
    """

    @staticmethod
    def forward(ctx: Any, gram: Tensor) -> tuple[Tensor, Tensor]:
        if not bool(torch.isfinite(gram).all()):  # propagate NaN as torch does, because LAPACK would raise
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
