"""N rows with given means and cross-covariances.

For modality m with feature width p_m, let mu_m be the mean, F_m (p_m x (N-1)) the factors, and c a scale. The rows are

    X_m = 1 mu_m^T + c Q F_m^T        Q in R^{N x (N-1)},  Q^T Q = I,  Q^T 1 = 0

Q has orthonormal columns, and the entries of each column sum to zero. For every such Q, the rows X_m have the mean
mu_m, and the modalities m and n have the cross-covariance c^2 F_m F_n^T / (N - 1). Q affects only how students train.
It is selected by the argument `rotation`:

    "random"     Q is uniformly distributed
    "eye"        Q is nearest to the first N - 1 columns of the identity. After subtracting mu_m, row i < N of X_m is
                 mainly c times column i of F_m, and row N is minus the sum of the other rows
    real rows    {modality: N x p_m}; Q brings synthetic row i as close as possible to real row i (Procrustes)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from omnidistill.core.device import device_of
from omnidistill.core.errors import InputError

Rotation = Literal["random", "eye"] | Mapping[str, Float[Tensor, "_ _"]]


def place_rows(
    means: Mapping[str, Float64[Tensor, " _"]],
    spread: Mapping[str, Float64[Tensor, "_ _"]],
    scale: float,
    rotation: Rotation,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Float[Tensor, "_ _"]]:
    """Return rows (N x p_m) with given means mu_m and factors F_m for every modality m.

    The rows are X_m = 1 mu_m^T + c Q F_m^T, where 1 is the vector of ones and c is a scale. All modalities share Q
    (N x (N-1)), a matrix with orthonormal columns that sum to zero.

    Args:
        means: means mu_m (p_m) of the rows.
        spread: factors F_m (p_m x (N-1)), which determine the cross-covariances of the rows.
        scale: scale c of the factors.
        rotation: how to choose Q: "random"; "eye", as close as possible to the identity; or real rows
            {modality: N x p_m} to which the rows X_m should be close.
        generator: used only if `rotation` is "random".
        dtype: dtype of the rows.

    Raises:
        InputError: `rotation` contains real rows, and a modality is missing or has the wrong shape.
    """
    frame = _frame(spread, rotation, generator)
    return {name: (means[name] + scale * (frame @ block.mT)).to(dtype) for name, block in spread.items()}


def check_size(size: int, limit: int | None = None, why: str = "") -> None:
    """Raise InputError unless 2 <= size <= limit. The message contains `why`, the reason for the limit."""
    if size < 2 or (limit is not None and size > limit):
        allowed = "at least 2" if limit is None else f"between 2 and {limit} ({why})"
        raise InputError(f"size of the synthetic set is {size}; it must be {allowed}")


def _frame(spread: Mapping[str, Tensor], rotation: Rotation, generator: torch.Generator) -> Float64[Tensor, "N k"]:
    device, num_factors = device_of(spread), next(iter(spread.values())).shape[1]
    if isinstance(rotation, Mapping):
        _check_rows(spread, rotation)
        target = torch.stack([rotation[name].to(device).double() @ block for name, block in spread.items()]).sum(0)
    elif rotation == "eye":
        target = torch.eye(num_factors + 1, num_factors, dtype=torch.float64, device=device)
    else:
        target = _normal(num_factors + 1, num_factors, generator).to(device)
    basis = _centred_basis(num_factors + 1, device)  # spans all columns that sum to 0
    u, _, vh = torch.linalg.svd(basis.mT @ target)
    frame: Tensor = basis @ u @ vh
    return frame


def _centred_basis(size: int, device: torch.device) -> Float64[Tensor, "N k"]:
    """Return N - 1 orthonormal columns, each of which sums to zero, where N is `size`.

    They are the first N - 1 columns of the Householder reflection that maps the vector of ones, divided by sqrt(N), to
    minus the last unit vector. The last column of the reflection is constant, and the others are orthogonal to it.
    """
    normal = torch.full((size,), size**-0.5, dtype=torch.float64, device=device)
    normal[-1] += 1
    identity = torch.eye(size, dtype=torch.float64, device=device)
    reflection = identity - torch.outer(normal, normal) * (2 / (normal @ normal))
    return reflection[:, :-1]


def _normal(rows: int, columns: int, generator: torch.Generator) -> Float64[Tensor, "_ _"]:
    return torch.randn(rows, columns, dtype=torch.float64, generator=generator, device="cpu")


def _check_rows(spread: Mapping[str, Tensor], rotation: Mapping[str, Tensor]) -> None:
    for name, block in spread.items():
        shape = (block.shape[1] + 1, block.shape[0])
        given = tuple(rotation[name].shape) if name in rotation else "none"
        if given != shape:
            raise InputError(
                f"rotation: expected real rows of shape {shape} for modality {name!r}, found {given}; pass one real "
                "row per synthetic row"
            )
