"""The rank certificate: the lowest matching loss that any synthetic set of N rows can reach, told before distilling.

A linear head trained by gradient steps on N rows X stays in their span, W_T - W_0 = A^T X, so its update has rank at
most N. With D = W* - W_0 the update that is to be matched and s_1 >= s_2 >= ... its singular values, Eckart-Young gives

    ||W_T - W*||^2 / ||D||^2  >=  floor_N  =  sum_{k>N} s_k^2 / sum_k s_k^2.

Shapes: d embedding width, p input width, k = min(d, p) singular values.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError, NotFiniteError


def singular_values(difference: Float[Tensor, "d p"]) -> Float[Tensor, " k"]:
    """Singular values of a head's update, descending, float64, from the eigenvalues of the smaller Gram matrix.

    Those below about 5e-7 of the largest cannot be told from rounding there and count as zero; a floor is moved by
    less than 1e-9 by this. Raises `NotFiniteError` for NaN or Inf and `InputError` for an update that is zero.
    """
    if not torch.isfinite(difference).all():
        raise NotFiniteError("the difference of expert and starting head holds NaN or Inf: it has no singular values")
    tall = difference.detach().double()
    if tall.shape[0] < tall.shape[1]:
        tall = tall.T
    scale = tall.abs().amax() if tall.numel() else tall.new_zeros(())
    if scale == 0:
        raise InputError(_NO_UPDATE)
    tall = tall / scale  # squares neither underflow nor overflow
    squares = torch.linalg.eigvalsh(tall.T @ tall).flip(0)
    noise = len(tall) * torch.finfo(squares.dtype).eps * squares[0]
    return scale * torch.where(squares > noise, squares, 0.0).sqrt()


def rank_floor(singular_values: Float[Tensor, " k"], rank: int) -> float:
    """Lowest relative squared distance, in [0, 1], that an update of at most `rank` can leave.

    Raises `InputError` for a negative rank or singular values that are all zero.
    """
    if rank < 0:
        raise InputError(f"rank {rank} of a head update: must be 0 or more (the number of synthetic rows)")
    floors = _floors(singular_values)
    return float(floors[min(rank, len(floors) - 1)])


def smallest_size(singular_values: Float[Tensor, " k"], loss: float) -> int:
    """The smallest number of rows whose floor is at most `loss` (a branch's relative matching loss, 0 or more).

    Raises `InputError` for a negative or undefined loss or singular values that are all zero.
    """
    if not loss >= 0:
        raise InputError(f"matching loss {loss}: must be 0 or more, it is a squared distance over a squared distance")
    return int((_floors(singular_values) > loss).sum())


_NO_UPDATE = "the expert's head equals the starting head: there is nothing to match, train the expert further"


def _floors(singular_values: Float[Tensor, " k"]) -> Float[Tensor, " k+1"]:
    """The floor for each rank 0..k: exactly 1 first, exactly 0 last, never rising."""
    values = singular_values.double().sort().values
    largest = values[-1] if len(values) else 0.0
    if largest == 0:
        raise InputError(_NO_UPDATE)
    left = ((values / largest) ** 2).cumsum(0)
    return torch.cat([left.flip(0) / left[-1], left.new_zeros(1)])
