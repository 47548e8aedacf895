"""Analytic parameter matching (APM; Bo & Wang, ICML 2026) in closed form, for any number of modalities M >= 2.

If a least-squares loss replaces InfoNCE, the heads of two modalities have analytic parameters W_m^T W_n = A_mn. Up to
scale, and with a ridge eps,

    A_mn = S_m(eps)^{-1} C_mn S_n(eps)^{-1}        (for eps = 0 and centred rows: X_m^+ (X_n^+)^T (n - 1))

APM gives the synthetic set analytic parameters that match these. N rows can represent a product B_m B_n^T with N - 1
factors (columns). They represent it exactly if they form the dual frame of B:

    X~_m = 1 mu_m^T + c Q B_m^+        B_m^+ = (B_m^T B_m)^{-1} B_m^T        so  c^2 Xc~_m^+ (Xc~_n^+)^T = B_m B_n^T

for every frame Q. The scale c is chosen so that the synthetic cross-covariances, taken together, have the same norm as
those of the data. Two norms can define which factors are nearest to A:

    "plain"       B = factor(A, N - 1)                             smallest error of the parameters
    "whitened"    B = S(eps)^{-1/2} factor(K, N - 1), see `cca`    smallest error of the outputs on the data

The heads W_m = B_m^T with bias -W_m mu_m need neither a synthetic set nor training: `analytic_heads` returns the heads
for the plain norm, `ridge_cca_heads` those for the whitened norm.

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

_RELATIVE_CUT = 1e-7  # relative to the largest; smaller singular values of B are square roots of rounding errors


def apm_factors(moments: Moments, rank: int, ridge: float, norm: Norm = "whitened") -> Factors:
    """Return the factors B (p_m x rank) nearest to the analytic parameters.

    Args:
        moments: moments of the data.
        rank: number of factors.
        ridge: eps >= 0, as a multiple of the mean eigenvalue of each S_m.
        norm: the norm that defines which factors are nearest.

    Raises:
        InputError: with this ridge, a covariance is singular.
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
    """Return N rows (N x p_m) with the means of the data and analytic parameters that approximate A by N - 1 factors.

    Args:
        moments: moments of the data.
        size: N, from 2 to 1 + the smallest p_m, since B_m needs a left inverse.
        ridge: see `apm_factors`.
        rotation: the frame Q, see `rows_of_factors`.
        generator: used only if the rotation is "random".
        norm: see `apm_factors`.
        factors: the result of `apm_factors(moments, size - 1, ridge, norm)`, if it is already known.
        dtype: dtype of the rows.

    Raises:
        InputError: the size is out of range, or a covariance is singular with this ridge.
    """
    check_size(size, 1 + min(moments.widths.values()), "the width of the narrowest modality plus 1")
    factors = factors or apm_factors(moments, size - 1, ridge, norm)
    dual = {name: torch.linalg.pinv(block, rtol=_RELATIVE_CUT).mT for name, block in factors.blocks.items()}
    data_norm = sum(float(block.square().sum()) for block in moments.cross.values())
    unscaled_norm = sum(float(((dual[m].mT @ dual[m]) * (dual[n].mT @ dual[n])).sum()) for m, n in moments.cross)
    scale = ((size - 1) * (data_norm / unscaled_norm) ** 0.5) ** 0.5
    return place_rows(moments.means, dual, scale, rotation, generator, dtype)


def analytic_heads(
    moments: Moments, rank: int, ridge: float, dtype: torch.dtype = torch.float32
) -> tuple[Heads, dict[str, Float[Tensor, " _"]]]:
    """Return the heads W_m = B_m^T (rank x p_m) for the plain norm, and their biases -W mu for uncentred features."""
    heads = {name: block.mT.to(dtype) for name, block in apm_factors(moments, rank, ridge, "plain").blocks.items()}
    return heads, moments.head_bias(heads)
