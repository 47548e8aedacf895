"""Fixed modes instead of singular vectors: the controls of table 7 in the HoPA paper (arXiv 2604.10666).

The objective `hopa` factorises the unit embeddings Z (M x d) of an instance by an orthonormal basis u_1, ..., u_M:

    sigma_k = ||Z^T u_k||,   v_k = Z^T u_k / sigma_k

If the u_k are the left singular vectors of Z, this is the SVD. The functions in this module use a fixed basis instead.
All other steps stay the same.

    identity    u_k is the k-th unit vector, so each modality is one mode: v_k is its embedding, and sigma_k = 1.
    mean        u_1 = (1, ..., 1) / sqrt M, so v_1 is the normalised mean of the embeddings. All other modes get the
                same sigma_k = sqrt((M - sigma_1^2) / (M - 1)) instead of the formula above, so the result does not
                depend on the order of the modalities.

The paper states that the SVD is replaced, but prints no formulas. The formulas above are our interpretation.

Shapes: b instances, M modalities; `*r` stands for leading dimensions, one index per run.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.models.spectrum import Spectrum, least_eigenvalue


class FixedModes(Spectrum):
    """A factorisation of Gram matrices in which a fixed basis replaces the eigenvectors (attribute `vectors`)."""

    def weight_rates(self, mode: int = 0) -> Float[Tensor, "*r b M"]:
        """Return the factors gamma of `Spectrum.weight_rates` for a fixed basis.

        The weights of mode k are u_k / sigma_k. The basis vector u_k is fixed, so only sigma_k depends on the Gram
        matrix. Therefore gamma_k = -1 / (2 sigma_k^2), as for the SVD, and all other factors are 0.

        Args:
            mode: number k of the mode, counted from 0.
        """
        rates = torch.zeros_like(self.sigma)
        rates[..., mode] = -0.5 / self.sigma[..., mode].square()
        return rates


def identity_modes(gram: Float[Tensor, "*r b M M"]) -> FixedModes:
    """Return one fixed mode per modality, in place of the SVD of the embeddings of each instance.

    The identity matrix replaces the left singular vectors. The embedding of modality k replaces the k-th right singular
    vector.

    Args:
        gram: inner products between the embeddings of each instance (M x M for M modalities).
    """
    eigenvalues = gram.diagonal(dim1=-2, dim2=-1)
    basis = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return _modes(eigenvalues, basis)


def mean_modes(gram: Float[Tensor, "*r b M M"]) -> FixedModes:
    """Return the mean direction and M - 1 other fixed modes, in place of the SVD of the embeddings of each instance.

    A fixed orthonormal basis replaces the left singular vectors. Its first vector is (1, ..., 1) / sqrt M. All modes
    after the first have the same sigma. The sum of sigma^2 over all modes is the same as for the SVD.

    Args:
        gram: inner products between the embeddings of each instance (M x M for M modalities).
    """
    num = gram.shape[-1]
    total, first = gram.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True), gram.sum((-2, -1)).unsqueeze(-1) / num
    others = ((total - first) / (num - 1)).expand(*first.shape[:-1], num - 1)
    return _modes(torch.cat([first, others], dim=-1), _mean_basis(gram))


def _modes(eigenvalues: Float[Tensor, "*r b M"], basis: Float[Tensor, "M M"]) -> FixedModes:
    vectors = basis.expand(*eigenvalues.shape[:-1], *basis.shape)
    return FixedModes(eigenvalues, vectors, eigenvalues.clamp_min(least_eigenvalue(eigenvalues.dtype)).sqrt())


def _mean_basis(gram: Float[Tensor, "*r b M M"]) -> Float[Tensor, "M M"]:
    """Return an orthonormal basis whose first vector is (1, ..., 1) / sqrt M.

    The basis is the Householder reflection that swaps this vector with the unit vector e_1.
    """
    num = gram.shape[-1]
    identity = torch.eye(num, dtype=gram.dtype, device=gram.device)
    mirror = identity[0] - num**-0.5
    basis: Tensor = identity - 2 * torch.outer(mirror, mirror) / mirror.square().sum()
    return basis
