"""APM, analytic parameter matching (Bo & Wang, ICML 2026), in closed form for any M >= 2.

With least squares for InfoNCE the projectors of two modalities have analytic parameters; ridged and up to scale,

    A_mn = S_m(eps)^{-1} C_mn S_n(eps)^{-1}        (eps = 0: X_m^+ (X_n^+)^T (n - 1) of centred rows; W_m^T W_n = A_mn)

and APM matches those of the synthetic set to them. N rows carry N - 1 factors B_m B_n^T, and exactly those when they
are the dual frame of B:

    X~_m = 1 mu_m^T + c Q B_m^+        B_m^+ = (B_m^T B_m)^{-1} B_m^T        so  c^2 Xc~_m^+ (Xc~_n^+)^T = B_m B_n^T

for every frame Q; c makes the cross-covariances as large, together, as those of the data. Nearest to A are, by the norm
that is asked for,

    "plain"       B = factor(A, N - 1)                             errors of the parameters
    "whitened"    B = S(eps)^{-1/2} factor(K, N - 1), see `cca`    errors of the outputs on the data

Heads without any set or training are W_m = B_m^T with bias -W_m mu_m: `analytic_heads` by the plain norm,
`ridge_cca_heads` by the other.

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

_RELATIVE_CUT = 1e-7  # singular values of B below are the roots of rounding: no direction of the data


def apm_factors(moments: Moments, rank: int, ridge: float, norm: Norm = "whitened") -> Factors:
    """B (p_m x rank) of the analytic parameters at `ridge` = eps >= 0, in units of the mean eigenvalue of each S_m.

    Raises InputError for a ridge that leaves a covariance singular.
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
    """N = `size` rows (N x p_m) with the means of the data, on which least squares finds A to N - 1 factors.

    `factors`: those of `apm_factors(moments, size - 1, ridge, norm)`, to place several sets by one factorisation.
    Rotations: see `closed_form.rows`. Raises InputError unless 2 <= N <= 1 + the smallest p_m (B_m needs a left
    inverse), or for a ridge that leaves a covariance singular.
    """
    check_size(size, 1 + min(moments.widths.values()), "one more than the narrowest modality is wide")
    factors = factors or apm_factors(moments, size - 1, ridge, norm)
    dual = {name: torch.linalg.pinv(block, rtol=_RELATIVE_CUT).mT for name, block in factors.blocks.items()}
    wanted = sum(float(block.square().sum()) for block in moments.cross.values())
    made = sum(float(((dual[m].mT @ dual[m]) * (dual[n].mT @ dual[n])).sum()) for m, n in moments.cross)
    scale = ((size - 1) * (wanted / made) ** 0.5) ** 0.5
    return place_rows(moments.means, dual, scale, rotation, generator, dtype)


def analytic_heads(
    moments: Moments, rank: int, ridge: float, dtype: torch.dtype = torch.float32
) -> tuple[Heads, dict[str, Float[Tensor, " _"]]]:
    """Heads W_m = B_m^T (rank x p_m) of the plain norm and their biases -W mu, for features that are not centred."""
    heads = {name: block.mT.to(dtype) for name, block in apm_factors(moments, rank, ridge, "plain").blocks.items()}
    return heads, moments.head_bias(heads)
