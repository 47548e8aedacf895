"""Heat maps of matrices: positive entries are blue, negative entries orange, and entries near 0 transparent.

Transparency makes the picture work on light and dark pages. A large matrix is divided into blocks, and each pixel shows
the entry of largest magnitude in one block. Large entries therefore stay visible.
"""

from __future__ import annotations

import struct
import zlib

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from omnidistill.report.items import Medium

MAX_PIXELS = 200
"""Largest side of the picture, in pixels."""
_POSITIVE, _NEGATIVE = (56, 128, 200), (217, 108, 38)  # readable on white and on black


def heat_png(matrix: Float[Tensor, "rows columns"], scale: float) -> Medium:
    """Return the matrix as a PNG. Entries with a magnitude of `scale` (a positive number) or more are opaque."""
    small = shrink(matrix.detach().float(), MAX_PIXELS)
    shade = (small.abs() / scale).clamp(0, 1)
    positive, negative = (torch.tensor(colour, device=small.device) for colour in (_POSITIVE, _NEGATIVE))
    colours = torch.where((small >= 0).unsqueeze(-1), positive, negative)
    pixels = torch.cat([colours, (255 * shade).round().unsqueeze(-1)], dim=-1).to(torch.uint8)
    return Medium("image/png", _png(pixels))


def shrink(matrix: Float[Tensor, "rows columns"], side: int) -> Float[Tensor, "_ _"]:
    """Reduce a matrix to at most `side` rows and columns. From each block, keep the entry of largest magnitude."""
    for axis in (0, 1):
        block = -(-matrix.shape[axis] // side)
        strongest = [
            piece.gather(axis, piece.abs().argmax(axis, keepdim=True)).squeeze(axis)
            for piece in torch.split(matrix, block, dim=axis)
        ]
        matrix = torch.stack(strongest, dim=axis)
    return matrix


def strongest_pairs(matrix: Float[Tensor, "n n"], count: int) -> list[tuple[int, int, float]]:
    """Return up to `count` non-zero off-diagonal entries (row, column, entry), in descending order of magnitude."""
    off = matrix.detach().float().clone().fill_diagonal_(0)
    order = off.abs().flatten().sort(descending=True, stable=True).indices[:count].tolist()
    pairs = [divmod(index, len(off)) for index in order]
    return [(row, column, float(off[row, column])) for row, column in pairs if off[row, column] != 0]


def _png(pixels: UInt8[Tensor, "height width 4"]) -> bytes:
    """Return RGBA pixels as a PNG file with 8 bits per channel (ISO/IEC 15948)."""
    height, width, _ = pixels.shape
    scanlines = torch.cat([pixels.new_zeros(height, 1), pixels.reshape(height, -1)], dim=1)  # filter: none
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)),
        (b"IDAT", zlib.compress(scanlines.cpu().numpy().tobytes(), 9)),
        (b"IEND", b""),
    )
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
