"""Ridge canonical correlation analysis (CCA) of M >= 2 modalities, which gives heads without training.

Let S_m be the covariance of modality m with a ridge (see `ridge`), and C_mn the cross-covariance of the modalities m
and n (see `moments`). Let K_mn = S_m^{-1/2} C_mn S_n^{-1/2} be the whitened cross-covariances, and B_m (p_m x d)
factors whose products B_m B_n^T are nearest to K_mn (see `factors`). The heads (d x p_m) are

    W_m = B_m^T S_m^{-1/2}

For M = 2, the singular values of K_12 are the canonical correlations (with ridge). B_1 and B_2 are the d leading
singular vectors, times the square roots of the singular values. The inner product of two outputs thus weights each
canonical direction by its correlation.

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
    """Return the transposes (p_m x rank) of the ridge CCA heads of all modalities.

    They are S_m^{-1/2} B_m, where S_m is the covariance of modality m with a ridge, and each product B_m B_n^T
    approximates the whitened cross-covariance of modalities m and n. The attribute `residuals` of the result contains
    the squared errors of this approximation.

    Args:
        moments: moments of the data.
        rank: output width of the heads.
        ridge: ridge >= 0, as a multiple of the mean eigenvalue of each covariance.

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
