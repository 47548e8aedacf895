"""CovMatch in closed form (Lee & Chung, NeurIPS 2025, arXiv 2510.18583), for any M >= 2.

InfoNCE, linearised, sees the data through their cross-covariances alone,

    L_lin = sum_{m<n} -tr(W_m C_mn W_n^T) + rho/2 ||W_m^T W_n||_F^2,

so CovMatch matches those of the synthetic rows, L = sum_{m<n} ||rho C_mn - C~_mn||_F^2 (with equal means), by gradient
descent. A set of N rows reaches any C~_mn = B_m B_n^T of N - 1 factors, so the minimum is a factorisation:

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
    """The N - 1 factors of the cross-covariances that `size` = N >= 2 rows can carry."""
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
    """N = `size` rows (N x p_m) with the means of the data and cross-covariances nearest to rho > 0 times theirs.

    `factors`: those of `covmatch_factors(moments, size)`, to place several sets by one factorisation. Rotations: see
    `closed_form.rows`. Raises InputError for a size below 2 or rho not above 0.
    """
    _check_rho(rho)
    factors = factors or covmatch_factors(moments, size)
    return place_rows(moments.means, factors.blocks, (rho * (size - 1)) ** 0.5, rotation, generator, dtype)


def covmatch_floor(moments: Moments, size: int, rho: float, *, factors: Factors | None = None) -> float:
    """The matching loss L of those rows: the least that `size` rows reach (M = 2: exactly; M > 2: as far as the
    factorisation has converged).
    """
    _check_rho(rho)
    return rho**2 * (factors or covmatch_factors(moments, size)).residual


def linear_heads(moments: Moments, rank: int, rho: float, dtype: torch.dtype = torch.float32) -> Heads:
    """The heads (rank x p_m) that minimise L_lin on the data; with d = `rank` < N the same as on the rows above."""
    _check_rho(rho)
    return {name: (block.mT / rho**0.5).to(dtype) for name, block in factor(moments.cross, rank).blocks.items()}


def _check_rho(rho: float) -> None:
    if not 0 < rho < float("inf"):
        raise InputError(f"rho {rho} of covariance matching: must be finite and above 0")
