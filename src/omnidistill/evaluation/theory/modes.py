"""Modes of an instance: the singular values and vectors of its embeddings (HoPA, arXiv 2604.10666, eq. 1, 5, 10).

The embeddings of an instance are the rows of Z (M x d). The thin SVD of Z gives K = min(M, d) modes. Mode k is the pair
(sigma_k, A_k):

    Z = sum_k sigma_k A_k,   A_k = u_k v_k^T,   sigma_1 >= sigma_2 >= ...
    p_k = softmax(sigma / tau)_k                           share of mode k, with a temperature tau

The shares p_k occur in the loss term L_mod of HoPA (see `mode_gradients`). A synthetic instance (superscript syn) is
compared with a real instance (superscript real) by the distance between their k-th modes:

    eps_k = ||A_k^syn - A_k^real||_F                       at most 2

A_k stays the same if u_k and v_k both change sign. The signs can therefore be chosen such that u^syn . u^real >= 0
(index k omitted). To avoid cancellation, eps_k is then computed from differences of singular vectors (own derivation):

    eps_k^2 = delta_u + delta_v - delta_u delta_v / 2
    delta_u = ||u^syn - u^real||^2,   delta_v = ||v^syn - v^real||^2

Everything is computed in float64. Shapes: b instances, M modalities, d embedding width, K modes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Modes:
    """The modes of b instances: the singular values of their embeddings, in descending order, and singular vectors."""

    sigma: Float[Tensor, "b K"]
    left: Float[Tensor, "b M K"]  # u_k in column k
    right: Float[Tensor, "b K d"]  # v_k in row k

    def shares(self, tau: float) -> Float[Tensor, "b K"]:
        """Return the share p_k of each mode k: entry k of softmax(sigma / tau), where sigma are the singular values.

        The shares of an instance sum to 1.
        """
        return torch.softmax(self.sigma / tau, dim=-1)

    def coefficients(self, gradient: Float[Tensor, "b M d"]) -> Float[Tensor, "b K"]:
        """Return the coefficient of the gradient in each mode.

        Let u_k and v_k be the k-th singular vectors of an instance's embeddings, and G its gradient. The coefficient of
        mode k is u_k^T G v_k, which is the Frobenius inner product of G and A_k = u_k v_k^T.
        """
        return ((self.left.mT @ gradient) * self.right).sum(-1)

    def combined(self, coefficients: Float[Tensor, "b K"]) -> Float[Tensor, "b M d"]:
        """Return the matrix sum_k c_k u_k v_k^T of each instance, for given coefficients c_k.

        u_k and v_k are the k-th singular vectors of the instance's embeddings.
        """
        return (self.left * coefficients.unsqueeze(-2)) @ self.right


def modes(embeddings: Float[Tensor, "b M d"]) -> Modes:
    """Return the modes of instances: the thin SVD of the embeddings of each instance."""
    left, sigma, right = torch.linalg.svd(embeddings, full_matrices=False)
    return Modes(sigma, left, right)


def mode_distances(first: Modes, second: Modes) -> Float[Tensor, "b K"]:
    """Return the distance eps_k between mode k of instance i in `first` and mode k of instance i in `second` (b x K).

    The module docstring defines eps_k.
    """
    signs = torch.where((first.left * second.left).sum(-2) < 0, -1.0, 1.0).to(first.sigma.dtype)
    turned = (first.left - signs.unsqueeze(-2) * second.left).square().sum(-2)
    moved = (first.right - signs.unsqueeze(-1) * second.right).square().sum(-1)
    return (turned + moved - turned * moved / 2).clamp_min(0).sqrt()
