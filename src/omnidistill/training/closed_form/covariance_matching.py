"""CovMatch in closed form (Lee & Chung, NeurIPS 2025, arXiv 2510.18583), for any M >= 2.

Linearised InfoNCE depends on the data only through the cross-covariances,

    L_lin = sum_{m<n} -tr(W_m C_mn W_n^T) + rho/2 ||W_m^T W_n||_F^2,

so CovMatch minimises L = sum_{m<n} ||rho C_mn - C~_mn||_F^2 over synthetic rows with equal means and cross-covariances
C~, by gradient descent. N rows can have any C~_mn = B_m B_n^T with N - 1 factors, so the minimum is a factorisation:

    B = factor(C, N - 1)        X~_m = 1 mu_m^T + sqrt(rho (N - 1)) Q B_m^T

The same factorisation with d columns gives the heads that minimise L_lin: W_m = B_m^T / sqrt(rho).

Shapes: N synthetic rows, p_m feature width, d embedding width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.models.heads import Heads
from omnidistill.training.closed_form.factors import Factors, factor
from omnidistill.training.closed_form.moments import Moments
from omnidistill.training.closed_form.rows_of_factors import Rotation, check_size, place_rows


def covmatch_factors(moments: Moments, size: int) -> Factors:
    """Return the N - 1 factors of the cross-covariances that `size` = N >= 2 rows can represent."""
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
    """Return N rows (N x p_m) with the means of the data, and cross-covariances nearest to rho times those of the data.

    Args:
        moments: moments of the data.
        size: N, at least 2.
        rho: scale of the cross-covariances, above 0.
        rotation: the frame Q, see `rows_of_factors`.
        generator: used by the rotation "random".
        factors: the result of `covmatch_factors(moments, size)`, to reuse it for several sets.
        dtype: dtype of the rows.

    Raises:
        InputError: the size or rho is out of range.
    """
    _check_rho(rho)
    factors = factors or covmatch_factors(moments, size)
    return place_rows(moments.means, factors.blocks, (rho * (size - 1)) ** 0.5, rotation, generator, dtype)


def covmatch_floor(moments: Moments, size: int, rho: float, *, factors: Factors | None = None) -> float:
    """Return the matching loss L of the rows of `covmatch_rows`, the minimum for `size` rows.

    The minimum is exact for M = 2; for M > 2 it is subject to the convergence of the factorisation.
    """
    _check_rho(rho)
    return rho**2 * (factors or covmatch_factors(moments, size)).residual


def linear_heads(moments: Moments, rank: int, rho: float, dtype: torch.dtype = torch.float32) -> Heads:
    """Return the heads (rank x p_m) that minimise L_lin on the data, and for rank < N also on `covmatch_rows`."""
    _check_rho(rho)
    return {name: (block.mT / rho**0.5).to(dtype) for name, block in factor(moments.cross, rank).blocks.items()}


def _check_rho(rho: float) -> None:
    if not 0 < rho < float("inf"):
        raise InputError(f"rho {rho} of covariance matching: must be finite and above 0")
