"""The gradient of an objective, decomposed by mode (HoPA, arXiv 2604.10666, eq. 11, 14, 22-30).

Let L be the objective on b instances, and Z_i (M x d) the embeddings of instance i with the singular value
decomposition Z_i = sum_k sigma_k u_k v_k^T. Mode k is the matrix A_k = u_k v_k^T (see `modes`). The gradient for the
instance is G_i = b dL/dZ_i. It is a weighted sum of the modes, plus a rest R that is orthogonal to all A_k:

    G_i = sum_k c_k A_k + R,   c_k = u_k^T G_i v_k
    omega_k = |c_k|                                       eq. 11

An objective *excites* mode k if omega_k > 0.

**HoPA, eq. 14.** The loss of HoPA is a weighted sum of two terms, L_mod and L_ins.

L_mod = -(1/b) sum_i log p_1 with p = softmax(sigma / tau) depends only on the singular values. Its gradient therefore
has R = 0, and the coefficients are

    c_1 = -(1 - p_1) / tau,   c_k = p_k / tau for k >= 2

If sigma_k = 0, the library sets c_k = 0. The paper says that HoPA excites only mode 1. This is false for the L_mod
above. It is true for the variant L_mod = -(1/b) sum_i sigma_1, which has c_1 = -1, and c_k = 0 for k >= 2.

L_ins depends on Z only through v_1. A small change of Z in the direction of a mode A_k changes sigma_k, but not v_1.
L_ins therefore contributes to R, but not to c_k (own derivation).

**Pairwise objectives, appendix A.2** (own derivation of eq. 22-30). Let z_m,i be the embedding of modality m of
instance i, u_k,m entry m of u_k, and e_mn,ij the derivative of L with respect to the inner product z_m,i . z_n,j. Then

    c_k = b sum_m u_k,m sum_{n != m} sum_j e_mn,ij (z_n,j . v_k)

In general, c_k is not 0 for k >= 2, so a pairwise objective excites all modes.

Everything is computed in float64. Shapes: b instances, M modalities, d embedding width, K modes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.evaluation.theory.modes import Modes
from omnidistill.models.objectives import Hopa, Objective

_VANISHING = (8 * torch.finfo(torch.float64).eps) ** 0.5  # `models.spectrum` clamps singular values at this value


@dataclass(frozen=True)
class ModeGradients:
    """The gradient G_i of every instance i, decomposed by mode: G_i = sum_k c_k A_k + R.

    G_i is the gradient with respect to Z_i, the matrix of the instance's embeddings. Mode k is A_k = u_k v_k^T, with
    the k-th singular vectors u_k and v_k of Z_i. c_k is its coefficient. The rest R is orthogonal to all modes.
    """

    total: Float[Tensor, "b M d"]  # G_i
    coefficients: Float[Tensor, "b K"]  # c_k, with sign
    rest: Float[Tensor, "b M d"]  # R

    @property
    def omega(self) -> Float[Tensor, "b K"]:
        """Absolute values omega_k = |c_k| of the gradient's coefficients c_k, one per mode k (HoPA, eq. 11)."""
        return self.coefficients.abs()

    def energy(self) -> tuple[Float[Tensor, " K"], float]:
        """Return the share of each mode in the squared norm of the gradient, and the share outside all modes.

        The gradient of instance i is G_i = sum_k c_k A_k + R. Here A_k is mode k of the embeddings of the instance, and
        R is orthogonal to all modes. The shares refer to sum_i ||G_i||^2. They sum to 1, or are all 0 if the gradient
        is 0.
        """
        by_mode, rest = self.coefficients.square().sum(0), float(self.rest.square().sum())
        whole = float(by_mode.sum()) + rest
        return (by_mode / whole, rest / whole) if whole > 0 else (torch.zeros_like(by_mode), 0.0)


def mode_gradients(
    objective: Objective, embeddings: Float[Tensor, "b M d"], targets: Float[Tensor, "b b"], decomposed: Modes
) -> ModeGradients:
    """Return the gradient with respect to the embeddings, decomposed by mode.

    The modes of an instance are the singular values and vectors of the matrix Z_i of its embeddings.

    Args:
        objective: the loss, as a function of embeddings (`Objective.embedding_loss`).
        embeddings: unit embeddings of the batch, one matrix Z_i per instance.
        targets: target similarities of the batch.
        decomposed: the modes of `embeddings`.
    """
    with torch.enable_grad():
        leaf = embeddings.detach().transpose(0, 1).contiguous().requires_grad_()
        (gradient,) = torch.autograd.grad(objective.embedding_loss(leaf, targets), leaf)
    total = len(embeddings) * gradient.transpose(0, 1)
    coefficients = decomposed.coefficients(total)
    return ModeGradients(total, coefficients, total - decomposed.combined(coefficients))


def predicted_coefficients(objective: Objective, decomposed: Modes) -> Float[Tensor, "b K"] | None:
    """Return the coefficient of each mode in the gradient, as predicted by eq. 14; None if the objective is not HoPA.

    The modes of an instance are the singular vectors of its embeddings.
    """
    if not isinstance(objective, Hopa):
        return None
    sigma, num_modalities = decomposed.sigma, decomposed.left.shape[-2]
    first = torch.zeros_like(sigma)
    first[..., 0] = 1
    if objective.modality_term == "softmax":
        missing = sigma.new_zeros(*sigma.shape[:-1], num_modalities - sigma.shape[-1])  # eq. 8a has M terms
        clamped = torch.cat([sigma, missing], -1).clamp_min(_VANISHING)
        shares = torch.softmax(clamped / objective.tau_mod, -1)[..., : sigma.shape[-1]]
        return torch.where(sigma > _VANISHING, shares - first, 0) / objective.tau_mod
    return -first if objective.modality_term == "single" else torch.zeros_like(first)
