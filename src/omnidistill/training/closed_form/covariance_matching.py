"""CovMatch (Lee & Chung, NeurIPS 2025, arXiv 2510.18583) without gradient descent, for M >= 2 modalities.

Linearised InfoNCE depends on the data only through the cross-covariances C_mn of modalities m and n. The published
method therefore learns synthetic rows whose cross-covariances are close to rho C_mn, with a constant rho > 0. Its loss
L is the sum of the squared differences. This module minimises L in closed form.

1. `factor` finds factors B_m (p_m x (N - 1)) that minimise the residual r = sum_{m<n} ||C_mn - B_m B_n^T||_F^2.
2. The N synthetic rows of modality m are

       X_m = 1 mu_m^T + sqrt(rho (N - 1)) Q B_m^T

   Here mu_m is the mean of the data, and 1 is the vector of ones. Q (N x (N - 1)) is any matrix with orthonormal
   columns that sum to zero (see `rows_of_factors`).

These rows have the cross-covariances rho B_m B_n^T, so L = rho^2 r.

For M = 2, this is the minimum of L (Eckart-Young). For M > 2, the problem is not convex, and `factor` finds a
stationary point. A lower bound on L is then

    rho^2 sum_{m<n} sum_{k>=N} s_k(C_mn)^2        s_k: k-th singular value

It measures the part of each C_mn that no matrix of rank N - 1 can represent.

Shapes: N synthetic rows, p_m feature width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.training.closed_form.factors import Factors, factor
from omnidistill.training.closed_form.moments import Moments
from omnidistill.training.closed_form.rows_of_factors import Rotation, check_size, place_rows


def covmatch_factors(moments: Moments, size: int) -> Factors:
    """Return N - 1 common factors of the cross-covariances, the most that a set of N = `size` rows can represent."""
    check_size(size)
    return factor(moments.cross, size - 1)


def covmatch_rows(
    moments: Moments,
    size: int,
    rho: float,
    rotation: Rotation,
    generator: torch.Generator,
    *,
    factors: Factors | None = None,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Float[Tensor, "_ _"]]:
    """Return N synthetic rows (N x p_m) whose cross-covariances are nearest to rho times those of the data.

    The means of the rows are those of the data.

    Args:
        moments: moments of the data.
        size: number of rows N, at least 2.
        rho: scale of the cross-covariances, above 0.
        rotation: selects one of the many solutions: "random", "eye", or real rows {modality: N x p_m} to which the
            synthetic rows should be close. See `rows_of_factors`.
        generator: used only if the rotation is "random".
        factors: the result of `covmatch_factors(moments, size)`, if it is already known.
        dtype: dtype of the rows.

    Raises:
        InputError: the size or rho is out of range.
    """
    _check_rho(rho)
    factors = factors or covmatch_factors(moments, size)
    return place_rows(moments.means, factors.blocks, (rho * (size - 1)) ** 0.5, rotation, generator, dtype)


def _check_rho(rho: float) -> None:
    if not 0 < rho < float("inf"):
        raise InputError(
            f"covariance matching: rho, the scale of the cross-covariances, is {rho}; it must be finite and above 0"
        )
