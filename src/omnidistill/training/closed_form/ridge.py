"""Powers of regularised covariances S(eps) = S + eps * mean(eigenvalues of S) * I, with the ridge eps.

The factor mean(eigenvalues of S) makes eps independent of the scale of the features.
"""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.training.closed_form.moments import Cross, Moments


def ridge_powers(moments: Moments, ridge: float, exponent: float) -> dict[str, Float64[Tensor, "_ _"]]:
    """Return S_m(ridge)^exponent (p_m x p_m) for every modality m, where S_m(ridge) is its regularised covariance.

    Raises:
        InputError: the ridge is negative or not finite, a modality has no variance, or S_m(ridge) is singular.
    """
    if not 0 <= ridge < float("inf"):
        raise InputError(f"ridge is {ridge}; it must be finite and at least 0")
    return {name: _power(name, covariance, ridge, exponent) for name, covariance in moments.covariances.items()}


def between(cross: Cross, maps: dict[str, Float64[Tensor, "_ _"]]) -> Cross:
    """Return the cross-covariances T_m C_mn T_n^T of features that are multiplied by the matrices T_m (`maps`)."""
    return {(m, n): maps[m] @ block @ maps[n].mT for (m, n), block in cross.items()}


def _power(name: str, covariance: Tensor, ridge: float, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    mean = values.mean()
    if mean <= 0:
        raise InputError(f"modality {name!r}: all rows are equal, so the covariance is zero; check the features")
    values = values.clamp_min(0) + ridge * mean
    if values[0] <= len(values) * torch.finfo(values.dtype).eps * values[-1]:
        raise InputError(f"modality {name!r}: the covariance with ridge {ridge} is singular; use a larger ridge")
    power: Tensor = (vectors * values**exponent) @ vectors.mT
    return power
