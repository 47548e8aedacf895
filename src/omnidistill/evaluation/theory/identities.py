"""Check the identities in Lemmas 2 and 3 of HoPA (arXiv 2604.10666) numerically, on embeddings in float64.

Let Z (M x d) be the embeddings of an instance, sigma_k their singular values, G = Z Z^T the Gram matrix, and u_1 the
leading eigenvector of G. Let v_1 = Z^T u_1 / sigma_1. Then

    Lemma 2 (eq. 5)   min over rank X <= 1 of ||G - X||_F = ||G - sigma_1^2 u_1 u_1^T||_F = sqrt(sum_{k >= 2} sigma_k^4)
    Lemma 3           ||v_1|| = 1,   Z v_1 = sigma_1 u_1,   v_1 is the first right singular vector of Z

Our source for the paper lacks its equations, so both statements are reconstructed from the text
(docs/guides/theory.md).

The two sides of each equation are computed in different ways: `models.spectrum` computes u_1 from G, and an SVD of Z
gives sigma_k and the right singular vector. The difference between v_1 and this vector is multiplied by
(sigma_1^2 - sigma_2^2) / sigma_1^2, because the rounding error of a singular vector is inversely proportional to this
gap (Davis and Kahan).

Shapes: b instances, M modalities, d embedding width, K = min(M, d) modes.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.evaluation.theory.modes import Modes
from omnidistill.models.spectrum import spectrum


def lemma_2_residual(embeddings: Float[Tensor, "b M d"], by_svd: Modes) -> Float[Tensor, " b"]:
    """Return, for each instance, the absolute difference between the two sides of Lemma 2 of HoPA.

    Lemma 2 is the theorem of Eckart and Young for the Gram matrix G of the embeddings: the distance between G and the
    nearest rank-1 matrix is the Euclidean norm of the eigenvalues of G without the largest one.

    Args:
        embeddings: unit embeddings, from which G and the distance are computed.
        by_svd: singular values and vectors of the embeddings. The squared singular values are the eigenvalues.
    """
    gram = embeddings @ embeddings.mT
    result = spectrum(gram)
    leading = result.vectors[..., :1] * result.sigma[..., :1].unsqueeze(-1)
    distance = torch.linalg.matrix_norm(gram - leading @ leading.mT)
    residual: Tensor = distance - by_svd.sigma[..., 1:].pow(4).sum(-1).sqrt()
    return residual.abs()


def lemma_3_residual(embeddings: Float[Tensor, "b M d"], by_svd: Modes) -> Float[Tensor, " b"]:
    """Return the largest violation of the three equations in Lemma 3 of HoPA for each instance."""
    result = spectrum(embeddings @ embeddings.mT)
    proxy = (result.weights().unsqueeze(-2) @ embeddings).squeeze(-2)
    length = (torch.linalg.vector_norm(proxy, dim=-1) - 1).abs()
    mapped = (embeddings @ proxy.unsqueeze(-1)).squeeze(-1)
    mapping = torch.linalg.vector_norm(mapped - result.sigma[..., :1] * result.vectors[..., 0], dim=-1)
    right = by_svd.right[..., 0, :]
    sign = torch.where((proxy * right).sum(-1, keepdim=True) < 0, -1.0, 1.0).to(proxy.dtype)
    squares = by_svd.sigma.square()
    second = squares[..., 1] if squares.shape[-1] > 1 else torch.zeros_like(squares[..., 0])
    gap = (squares[..., 0] - second) / squares[..., 0]
    vector = torch.linalg.vector_norm(proxy - sign * right, dim=-1) * gap
    return torch.stack([length, mapping, vector]).amax(0)
