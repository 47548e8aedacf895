"""Rows as small integers, b bits a number and one float32 step a row, packed densely.

    x_i ~ s_i q_i,   q_i integers of [-L, L],   L = 2^(b-1) - 1,   s_i = f max|x_i| / L

f of a few factors f <= 1 that leaves the least squared error: below 1, large numbers are clipped for a finer step.
Stored is the code q + L + 1 > 0; number j of a row takes the bits b j .. b j + b - 1 of the row's bytes, lowest bit
first. Code 0 belongs to no number and fills the last byte, so a row of codes tells its own width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

_FACTORS = tuple(k / 20 for k in range(20, 3, -1))


@torch.no_grad()
def quantise(rows: Float[Tensor, "N p"], bits: int) -> tuple[UInt8[Tensor, "N p"], Float[Tensor, " N"]]:
    """Codes and step of every row."""
    reach = rows.abs().amax(1, keepdim=True)
    step = _step(reach, bits, _FACTORS[0])
    least = _error(rows, step, bits)
    for factor in _FACTORS[1:]:
        finer = _step(reach, bits, factor)
        error = _error(rows, finer, bits)
        step, least = torch.where(error < least, finer, step), torch.minimum(error, least)
    codes = _levels(rows, step, bits) + (1 << bits - 1)
    return codes.to(torch.uint8).clamp_min(1), step.squeeze(1)  # NaN has no code


def dequantise(codes: UInt8[Tensor, "N p"], step: Float[Tensor, " N"], bits: int) -> Float[Tensor, "N p"]:
    """The rows that codes and steps stand for."""
    levels = codes.to(step.dtype) - (1 << bits - 1)
    return levels * step.unsqueeze(1)


def pack_codes(codes: UInt8[Tensor, "N p"], bits: int) -> UInt8[Tensor, "N _"]:
    """ceil(p bits / 8) bytes a row."""
    stream = _bits_of(codes, bits)
    padded = torch.nn.functional.pad(stream, (0, -stream.shape[1] % 8))
    return _number_of(padded, 8)


def unpack_codes(packed: UInt8[Tensor, "N _"], bits: int) -> UInt8[Tensor, "N p"]:
    """What `pack_codes` was given, if no code is 0."""
    stream = _bits_of(packed, 8)
    codes = _number_of(stream[:, : stream.shape[1] // bits * bits], bits)
    return codes[:, : int((codes[0] > 0).sum())]


def _top(bits: int) -> int:
    return (1 << bits - 1) - 1


def _step(reach: Tensor, bits: int, factor: float) -> Tensor:
    return (reach * (factor / _top(bits))).clamp_min(torch.finfo(reach.dtype).tiny)  # a row of zeros has a step too


def _levels(rows: Tensor, step: Tensor, bits: int) -> Tensor:
    return torch.clamp(torch.round(rows / step), -_top(bits), _top(bits))


def _error(rows: Tensor, step: Tensor, bits: int) -> Tensor:
    return torch.sum((rows - _levels(rows, step, bits) * step).square(), 1, keepdim=True)


def _bits_of(numbers: Tensor, bits: int) -> Tensor:
    """N x n numbers as N x (n bits) zeros and ones, the lowest bit of each first."""
    return torch.flatten((numbers.unsqueeze(-1) >> torch.arange(bits, dtype=torch.uint8)) & 1, 1)


def _number_of(stream: Tensor, bits: int) -> Tensor:
    """The inverse of `_bits_of`."""
    pieces = stream.view(len(stream), -1, bits)
    return torch.sum(pieces << torch.arange(bits, dtype=torch.uint8), -1).to(torch.uint8)
