"""Analytic parameter matching (APM; Bo & Wang, ICML 2026) in closed form, for any number of modalities M >= 2.

Let S_m(eps) be the covariance of modality m with a ridge eps (see `ridge`), and C_mn the cross-covariance of modalities
m and n (see `moments`). The analytic parameters are

    A_mn = S_m(eps)^{-1} C_mn S_n(eps)^{-1}

If a least-squares loss replaces InfoNCE, the optimal heads W_m satisfy W_m^T W_n = A_mn, up to scale.

**Factors.** Let p_m be the feature width of modality m. APM finds factors B_m (p_m x (N - 1)) whose products B_m B_n^T
are nearest to A_mn in one of two norms. For given matrices G_mn, let factor(G) be the factors whose products are
nearest to G_mn (see `factors`). Let K_mn be the whitened cross-covariances (see `cca`):

    K_mn = S_m(eps)^{-1/2} C_mn S_n(eps)^{-1/2}

The factors for each norm are

    "plain"       B_m = factor(A)_m                       smallest error of the parameters
    "whitened"    B_m = S_m(eps)^{-1/2} factor(K)_m       smallest error of the outputs on the data

**Synthetic rows.** Let mu_m be the mean of modality m, s a scale, and Q any N x (N - 1) matrix with orthonormal columns
that each sum to zero (see `rows_of_factors`). The N rows

    X~_m = 1 mu_m^T + s Q B_m^+        B_m^+ = (B_m^T B_m)^{-1} B_m^T

have the analytic parameters (N - 1) B_m B_n^T / s^2, if eps = 0 and pseudo-inverses replace the inverses. Except for
the factor (N - 1) / s^2, they approximate the analytic parameters of the data. The scale s is chosen so that the sum of
||C_mn||_F^2 over all pairs m < n is the same for the rows as for the data.

**Heads.** The heads W_m = B_m^T with bias -W_m mu_m need neither a synthetic set nor training. `analytic_heads` returns
the heads for the plain norm, and `ridge_cca_heads` returns the heads for the whitened norm.

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
    """Return factors of the analytic parameters: one matrix B_m (p_m x rank) per modality m with feature width p_m.

    The products B_m B_n^T are nearest to the analytic parameters A_mn, which the module docstring defines.

    Args:
        moments: means and covariances of the data.
        rank: number of columns of each factor.
        ridge: eps >= 0, as a multiple of the mean eigenvalue of each covariance.
        norm: "plain" minimises the error of the parameters, "whitened" the error of the outputs of the heads on the
            data.

    Raises:
        InputError: a covariance is singular; a larger ridge is required.
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
    """Return N synthetic rows (N x p_m) whose analytic parameters approximate those of the data.

    The analytic parameters are the products W_m^T W_n of heads that are trained by least squares; see the module
    docstring. The means of the rows are those of the data.

    Args:
        moments: moments of the data.
        size: number of rows N, from 2 to 1 + the smallest feature width p_m.
        ridge: see `apm_factors`.
        rotation: how to rotate the rows; see `rows_of_factors`.
        generator: used only if the rotation is "random".
        norm: see `apm_factors`.
        factors: the result of `apm_factors(moments, size - 1, ridge, norm)`, if it is already known.
        dtype: dtype of the rows.

    Raises:
        InputError: the size is out of range, or a covariance is singular and requires a larger ridge.
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
    """Return the heads that match the analytic parameters A_mn best, and biases that centre the outputs.

    The module docstring defines A_mn. The heads W_m are the transposed factors that `apm_factors` returns for the norm
    "plain". Their products W_m^T W_n are nearest to A_mn.
    """
    heads = {name: block.mT.to(dtype) for name, block in apm_factors(moments, rank, ridge, "plain").blocks.items()}
    return heads, moments.head_bias(heads)
