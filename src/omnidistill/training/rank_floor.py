"""Rank floor: a lower bound on the matching loss of any synthetic set of N rows.

Let W_0 (d x p) be the initial head of a modality with feature width p. Training on the set changes it to W_T, and the
expert has the head W*. Let X (N x p) be the rows of the set. Gradient steps on X change a linear head only within the
span of the rows: W_T - W_0 = A^T X for some matrix A (N x d). The student's update W_T - W_0 therefore has at most rank
N. Let D = W* - W_0 be the expert's update, with singular values s_1 >= s_2 >= ... By the Eckart-Young theorem, the
matching loss of the modality has the lower bound

    ||W_T - W*||^2 / ||D||^2  >=  floor_N  =  sum_{i>N} s_i^2 / sum_i s_i^2.

Shapes: d embedding width, k = min(d, p) singular values.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.device import float64_device
from omnidistill.core.errors import InputError, NotFiniteError


def singular_values(difference: Float[Tensor, "d p"]) -> Float[Tensor, " k"]:
    """Return the singular values of the update of a head, in descending order, in float64.

    The values are computed from the eigenvalues of the smaller Gram matrix. Values below about 5e-7 times the largest
    value are set to zero, because they are rounding errors. This changes the rank floor by less than 1e-9.

    Raises:
        NotFiniteError: the update contains NaN or Inf.
        InputError: the update is zero.
    """
    if not torch.isfinite(difference).all():
        raise NotFiniteError("the expert's update of a head contains NaN or Inf; train the expert again")
    tall = difference.detach().to(float64_device(difference.device)).double()
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
    """Return the rank floor in [0, 1], a lower bound on the matching loss for student updates of at most this rank.

    Raises:
        InputError: the rank is negative, or all singular values are zero.
    """
    if rank < 0:
        raise InputError(f"rank = {rank}: the rank must be at least 0; pass, for example, the number of synthetic rows")
    floors = _floors(singular_values)
    return float(floors[min(rank, len(floors) - 1)])


_NO_UPDATE = "the expert's head equals the initial head, so there is no update to match; train the expert for longer"


def _floors(singular_values: Float[Tensor, " k"]) -> Float[Tensor, " k+1"]:
    """Return the rank floor, a lower bound on the matching loss, for student updates of every rank from 0 to k.

    The first value is exactly 1, and the last is exactly 0.
    """
    values = singular_values.double().sort().values
    largest = values[-1] if len(values) else 0.0
    if largest == 0:
        raise InputError(_NO_UPDATE)
    remaining = ((values / largest) ** 2).cumsum(0)
    return torch.cat([remaining.flip(0) / remaining[-1], remaining.new_zeros(1)])
