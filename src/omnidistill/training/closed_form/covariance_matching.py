"""CovMatch (Lee & Chung, NeurIPS 2025, arXiv 2510.18583) without gradient descent, for M >= 2 modalities.

Let C_mn be the cross-covariance of the modalities m and n, W_m the head of modality m, and rho a positive constant.
Linearised InfoNCE depends on the data only through the C_mn:

    L_lin = sum_{m<n} -tr(W_m C_mn W_n^T) + rho/2 ||W_m^T W_n||_F^2

The published method therefore looks for synthetic rows whose cross-covariances C~_mn are close to rho C_mn. By gradient
descent on the rows, it minimises

    L = sum_{m<n} ||rho C_mn - C~_mn||_F^2

N rows can have exactly the cross-covariances C~_mn = rho B_m B_n^T where each B_m has N - 1 columns (factors). For such
rows, L = rho^2 r with the residual r = sum_{m<n} ||C_mn - B_m B_n^T||_F^2. The function `factor` minimises r (see
`factors`), and the synthetic rows X~_m follow in closed form:

    B = factor(C, N - 1)        X~_m = 1 mu_m^T + sqrt(rho (N - 1)) Q B_m^T

Here mu_m is the mean of the data in modality m. Q (N x (N - 1)) is any matrix with orthonormal columns that sum to zero
(see `rows_of_factors`).

For M = 2, rho^2 r is the minimum of L (Eckart-Young). For M > 2, several pairs share the same B_m and the products
B_m B_m^T are not constrained, so the problem is not convex. The function `factor` then finds a stationary point, and
rho^2 r is an upper bound on the minimum of L. A lower bound for any M is
rho^2 sum_{m<n} sum_{k>=N} s_k(C_mn)^2, where s_k is the k-th singular value. It measures the part of each C_mn that no
matrix of rank N - 1 can represent. In general, the minimum is above this bound.

Shapes: N synthetic rows, p_m feature width, d embedding width.
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
