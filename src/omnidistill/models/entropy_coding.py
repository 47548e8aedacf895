"""Entropy coding of small integers by range coding (Martin, 1979), with integer frequency tables.

The integers are in [-31, 31] and form N rows of width p. They are stored in two tensors:

    code     uint8: the compressed integers, padded with zeros to a fixed size
    table    int32: a CRC-32 of the integers, then how often each absolute value 0 .. 31 occurs

The caller chooses `bits`, the average number of bits per integer. The size of the code depends only on `bits` and on
the number of integers, N p. Decoding needs N but not p, because the counts in the table sum to N p.

The probabilities are symmetric: for k > 0, the integers k and -k each get half of the relative frequency of the
absolute value k. The counts are integers, so every machine computes the same probabilities. The range coder is from the
package `constriction` (Bamler, 2022, arXiv 2201.01741).

Decoding checks lengths, counts and the CRC-32. It rejects a table whose counts sum to more than 2^24 + 64 B, where B is
the size of the code in bytes.
"""

from __future__ import annotations

import math
import zlib

import constriction
import numpy as np
import torch
from jaxtyping import Int, Int32, UInt8
from torch import Tensor

LARGEST = 31
"""Largest absolute value of an integer."""

_WORD = 32  # bits
_SPARE_WORDS = 2  # for the state of the coder at the end
_MOST_NUMBERS = 2**24  # in a code of any size, even if it is empty
_MOST_PER_BYTE = 64  # in addition


def ideal_bits(levels: Int[Tensor, "N p"]) -> float:
    """Return the size in bits that an ideal coder needs for the integers.

    This is the number of integers times the entropy of the symmetric probabilities in the module docstring.
    """
    counts = torch.bincount(levels.abs().flatten(), minlength=LARGEST + 1).cpu().double()
    total, nonzero = counts.sum(), counts[counts > 0]
    return float((nonzero * (total / nonzero).log2()).sum() + counts[1:].sum())


def stream_bytes(num_numbers: int, bits: float) -> int:
    """Return the size in bytes of the code for `num_numbers` integers with an average of `bits` bits each."""
    return 4 * (math.ceil(num_numbers * bits * (1 + 2**-12) / _WORD) + _SPARE_WORDS)


def encode(levels: Int[Tensor, "N p"], bits: float) -> tuple[UInt8[Tensor, " B"], Int32[Tensor, " t"]]:
    """Encode integers. Return the code and the frequency table that decoding needs, both on the CPU.

    The code is padded with zeros to the size that `stream_bytes` returns.

    Args:
        levels: the integers, in [-31, 31]. `ideal_bits(levels)` must not exceed `bits` times the number of integers.
        bits: average number of bits per integer.
    """
    numbers = levels.detach().cpu().numpy().astype(np.int32).ravel()
    counts = np.bincount(np.abs(numbers), minlength=LARGEST + 1)
    coder = constriction.stream.queue.RangeEncoder()
    coder.encode(numbers + LARGEST, _model(counts))
    words = coder.get_compressed().astype("<u4")
    padding = stream_bytes(len(numbers), bits) - words.nbytes
    code = np.concatenate([words.view(np.uint8), np.zeros(max(0, padding), np.uint8)])
    table = np.concatenate([[_checksum(numbers)], counts]).astype(np.int32)
    return torch.from_numpy(code), torch.from_numpy(table)


def decode(code: Tensor, table: Tensor, num_rows: int) -> Int[Tensor, "N p"]:
    """Decode integers. They are returned on the device of the code.

    Args:
        code: the code from a file, which may be damaged.
        table: the checksum and counts from a file, which may be damaged.
        num_rows: number of rows of the matrix of integers.

    Raises:
        ValueError: code, table and number of rows do not fit together, or the checksum is wrong.
    """
    if code.dtype != torch.uint8 or table.dtype != torch.int32 or code.ndim != 1 or table.shape != (LARGEST + 2,):
        raise ValueError("the code or its table has the wrong type or shape")
    stream, entries = code.cpu().numpy(), table.cpu().numpy().astype(np.int64)
    checksum, counts = entries[0], entries[1:]
    total = int(counts.sum())
    if counts.min() < 0 or num_rows < 1 or total % num_rows or not total or len(stream) % 4:
        raise ValueError("the table of the code does not fit the number of rows")
    if total > _MOST_NUMBERS + _MOST_PER_BYTE * len(stream):
        raise ValueError("the table of the code counts more numbers than the code can hold")
    words = np.frombuffer(stream.tobytes(), "<u4").astype(np.uint32)
    try:
        symbols = constriction.stream.queue.RangeDecoder(words).decode(_model(counts), total)
    except AssertionError:
        raise ValueError("the code cannot be decoded with its table") from None
    numbers = np.asarray(symbols, np.int32) - LARGEST
    if _checksum(numbers) != checksum:
        raise ValueError("the decoded numbers do not have the stored checksum")
    return torch.from_numpy(numbers.reshape(num_rows, -1)).to(code.device)


def _model(counts: np.ndarray) -> constriction.stream.model.Categorical:
    """Return the symmetric probability model of the entropy coder. Symbols 0 .. 62 are the integers -31 .. 31."""
    twice = np.concatenate([counts[:0:-1], 2 * counts[:1], counts[1:]])
    return constriction.stream.model.Categorical(twice / (2 * counts.sum()), perfect=False)


def _checksum(numbers: np.ndarray) -> int:
    """Return the CRC-32 of the integers, as a signed 32-bit number."""
    value = zlib.crc32(numbers.astype(np.int8).tobytes())
    return value - 2**32 if value >= 2**31 else value
