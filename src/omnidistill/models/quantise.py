"""Quantisation of rows to densely packed b-bit integers, with one float32 step per row.

A row x is stored as integers q in [-L, L] and a step s:

    x ~ s q,   L = 2^(b-1) - 1,   s = f max|x| / L

The factor f <= 1 is chosen from a fixed list to minimise the squared error. With f < 1, the step is finer, but large
numbers are clipped. An integer q is stored as the code q + L + 1, which takes b bits. The codes of a row follow each
other without gaps, lowest bit first. Unused bits at the end of the last byte are 0. The smallest code is 1, so zeros at
the end of a row are recognised as padding. The number of values per row is therefore not stored.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

_FACTORS = tuple(k / 20 for k in range(20, 3, -1))


@torch.no_grad()
def quantise(rows: Float[Tensor, "N p"], bits: int) -> tuple[UInt8[Tensor, "N p"], Float[Tensor, " N"]]:
    """Quantise rows. Return their integer codes and the quantisation step of every row. `bits` is 2 to 8."""
    largest = rows.abs().amax(1, keepdim=True)
    step = _step(largest, bits, _FACTORS[0])
    least_error = _error(rows, step, bits)
    for factor in _FACTORS[1:]:
        finer = _step(largest, bits, factor)
        error = _error(rows, finer, bits)
        step, least_error = torch.where(error < least_error, finer, step), torch.minimum(error, least_error)
    codes = _levels(rows, step, bits) + (1 << bits - 1)
    return codes.to(torch.uint8).clamp_min(1), step.squeeze(1)  # NaN may be converted to code 0


def dequantise(codes: UInt8[Tensor, "N p"], step: Float[Tensor, " N"], bits: int) -> Float[Tensor, "N p"]:
    """Return the floating-point rows that the integer codes and quantisation steps represent."""
    levels = codes.to(step.dtype) - (1 << bits - 1)
    return levels * step.unsqueeze(1)


def pack_codes(codes: UInt8[Tensor, "N p"], bits: int) -> UInt8[Tensor, "N _"]:
    """Pack the p integer codes of every row, each with `bits` bits, into ceil(p * bits / 8) bytes."""
    stream = _bits_of(codes, bits)
    padded = torch.nn.functional.pad(stream, (0, -stream.shape[1] % 8))
    return _number_of(padded, 8)


def unpack_codes(packed: UInt8[Tensor, "N _"], bits: int) -> UInt8[Tensor, "N p"]:
    """Return the integer codes that `pack_codes` packed.

    The packed codes must be at least 1. Zeros at the end of a row are padding and are removed.

    Raises:
        ValueError: the rows contain different numbers of codes, or a row contains a 0 before its last non-zero code.
    """
    stream = _bits_of(packed, 8)
    codes = _number_of(stream[:, : stream.shape[1] // bits * bits], bits)
    used = codes > 0
    width = int(used.any(0).sum())
    if not bool(used[:, :width].all()):
        raise ValueError("the codes of the rows have different widths")
    return codes[:, :width]


def _top(bits: int) -> int:
    return (1 << bits - 1) - 1


def _step(largest: Tensor, bits: int, factor: float) -> Tensor:
    return (largest * (factor / _top(bits))).clamp_min(torch.finfo(largest.dtype).tiny)  # zero rows need a step, too


def _levels(rows: Tensor, step: Tensor, bits: int) -> Tensor:
    return torch.clamp(torch.round(rows / step), -_top(bits), _top(bits))


def _error(rows: Tensor, step: Tensor, bits: int) -> Tensor:
    return torch.sum((rows - _levels(rows, step, bits) * step).square(), 1, keepdim=True)


def _bits_of(numbers: Tensor, bits: int) -> Tensor:
    """Convert N x n numbers to N x (n * bits) zeros and ones. The lowest bit of each number comes first."""
    return torch.flatten((numbers.unsqueeze(-1) >> torch.arange(bits, dtype=torch.uint8, device=numbers.device)) & 1, 1)


def _number_of(stream: Tensor, bits: int) -> Tensor:
    """Convert zeros and ones back to numbers; the inverse of `_bits_of`."""
    pieces = stream.view(len(stream), -1, bits)
    return torch.sum(pieces << torch.arange(bits, dtype=torch.uint8, device=stream.device), -1).to(torch.uint8)
