"""Ridge canonical correlation analysis (CCA) of M >= 2 modalities, which gives heads without training.

    K_mn = S_m(eps)^{-1/2} C_mn S_n(eps)^{-1/2}        B = factor(K, d)        W_m = B_m^T S_m(eps)^{-1/2}

Here S_m(eps) is the covariance of modality m with a ridge eps (see `ridge`), C_mn is the cross-covariance of modalities
m and n (see `moments`), and `factor` computes d common factors (see `factors`).

For M = 2, B contains the singular vectors of K times the square roots of the (ridge) canonical correlations. Therefore
W_1^T W_2 = S_1^{-1/2} K_d S_2^{-1/2}, where K_d is the rank-d matrix nearest to K. The cosine of two embeddings thus
weights each canonical direction by its correlation.

Shapes: p_m feature width, d embedding width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.models.heads import Heads
from omnidistill.training.closed_form.factors import Factors, factor
from omnidistill.training.closed_form.moments import Moments
from omnidistill.training.closed_form.ridge import between, ridge_powers


def canonical_factors(moments: Moments, rank: int, ridge: float) -> Factors:
    """Return the transposes of the ridge CCA heads: a matrix S_m^{-1/2} B_m (p_m x rank) for every modality m.

    S_m is the covariance of modality m, with a ridge. Each product B_m B_n^T approximates the whitened cross-covariance
    of the modalities m and n. The attribute `residuals` of the result contains the squared errors of this
    approximation.

    Args:
        moments: moments of the data.
        rank: output width of the heads.
        ridge: eps >= 0, as a multiple of the mean eigenvalue of each covariance.

    Raises:
        InputError: with this ridge, a covariance is singular.
    """
    roots = ridge_powers(moments, ridge, -0.5)
    whitened = factor(between(moments.cross, roots), rank)
    return Factors({name: roots[name] @ block for name, block in whitened.blocks.items()}, whitened.residuals)


def ridge_cca_heads(
    moments: Moments, rank: int, ridge: float, dtype: torch.dtype = torch.float32
) -> tuple[Heads, dict[str, Float[Tensor, " _"]]]:
    """Return the ridge CCA heads W_m (rank x p_m) and their biases -W_m mu_m, where mu_m are the feature means."""
    heads = {name: block.mT.to(dtype) for name, block in canonical_factors(moments, rank, ridge).blocks.items()}
    return heads, moments.head_bias(heads)
