"""APM, analytic parameter matching (Bo & Wang, ICML 2026), in closed form for any M >= 2.

With a least-squares loss in place of InfoNCE, the heads of two modalities have analytic parameters W_m^T W_n = A_mn. Up
to scale, and with a ridge eps,

    A_mn = S_m(eps)^{-1} C_mn S_n(eps)^{-1}        (eps = 0: X_m^+ (X_n^+)^T (n - 1) of centred rows)

APM matches the analytic parameters of the synthetic set to these. N rows can represent N - 1 factors B_m B_n^T, and
represent them exactly if the rows are the dual frame of B:

    X~_m = 1 mu_m^T + c Q B_m^+        B_m^+ = (B_m^T B_m)^{-1} B_m^T        so  c^2 Xc~_m^+ (Xc~_n^+)^T = B_m B_n^T

for every frame Q. The scale c gives the cross-covariances, taken together, the norm of those of the data. The factors
nearest to A in either norm are

    "plain"       B = factor(A, N - 1)                             errors of the parameters
    "whitened"    B = S(eps)^{-1/2} factor(K, N - 1), see `cca`    errors of the outputs on the data

The heads W_m = B_m^T with bias -W_m mu_m need neither a set nor training: `analytic_heads` returns those of the plain
norm, `ridge_cca_heads` those of the whitened norm.

Shapes: N synthetic rows, p_m feature width.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.models.heads import Heads
from omnidistill.training.closed_form.cca import canonical_factors
from omnidistill.training.closed_form.factors import Factors, factor
from omnidistill.training.closed_form.moments import Moments
from omnidistill.training.closed_form.ridge import between, ridge_powers
from omnidistill.training.closed_form.rows_of_factors import Rotation, check_size, place_rows

Norm = Literal["plain", "whitened"]

_RELATIVE_CUT = 1e-7  # smaller singular values of B are square roots of rounding errors, not directions of the data


def apm_factors(moments: Moments, rank: int, ridge: float, norm: Norm = "whitened") -> Factors:
    """Return the factors B (p_m x rank) nearest to the analytic parameters.

    Args:
        moments: moments of the data.
        rank: number of factors.
        ridge: eps >= 0, in units of the mean eigenvalue of each S_m.
        norm: the norm in which B is nearest.

    Raises:
        InputError: a covariance is singular with this ridge.
    """
    if norm == "whitened":
        return canonical_factors(moments, rank, ridge)
    return factor(between(moments.cross, ridge_powers(moments, ridge, -1.0)), rank)


def apm_rows(
    moments: Moments,
    size: int,
    ridge: float,
    rotation: Rotation,
    generator: torch.Generator,
    *,
    norm: Norm = "whitened",
    factors: Factors | None = None,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Float[Tensor, "_ _"]]:
    """Return N rows (N x p_m) with the means of the data, whose least-squares heads have N - 1 factors of A.

    Args:
        moments: moments of the data.
        size: N, from 2 to 1 + the smallest p_m, since B_m needs a left inverse.
        ridge: see `apm_factors`.
        rotation: the frame Q, see `rows_of_factors`.
        generator: used by the rotation "random".
        norm: see `apm_factors`.
        factors: the result of `apm_factors(moments, size - 1, ridge, norm)`, to reuse it for several sets.
        dtype: dtype of the rows.

    Raises:
        InputError: the size is out of range, or a covariance is singular with this ridge.
    """
    check_size(size, 1 + min(moments.widths.values()), "one more than the narrowest modality is wide")
    factors = factors or apm_factors(moments, size - 1, ridge, norm)
    dual = {name: torch.linalg.pinv(block, rtol=_RELATIVE_CUT).mT for name, block in factors.blocks.items()}
    data_norm = sum(float(block.square().sum()) for block in moments.cross.values())
    unscaled_norm = sum(float(((dual[m].mT @ dual[m]) * (dual[n].mT @ dual[n])).sum()) for m, n in moments.cross)
    scale = ((size - 1) * (data_norm / unscaled_norm) ** 0.5) ** 0.5
    return place_rows(moments.means, dual, scale, rotation, generator, dtype)


def analytic_heads(
    moments: Moments, rank: int, ridge: float, dtype: torch.dtype = torch.float32
) -> tuple[Heads, dict[str, Float[Tensor, " _"]]]:
    """Return the heads W_m = B_m^T (rank x p_m) of the plain norm, and their biases -W mu for uncentred features."""
    heads = {name: block.mT.to(dtype) for name, block in apm_factors(moments, rank, ridge, "plain").blocks.items()}
    return heads, moments.head_bias(heads)
