"""Storage of rows as entropy-coded integers, with a fractional number of bits per number (see `models.entropy_coding`).

Row x_i of a modality is stored as a row of integers k_i and a quantisation step s_i:

    x_i ~ s_i k_i        k_i integers in [-31, 31],   s_i = c rms(x_i),   rms: root mean square

The factor c is the same for all rows of a modality. It is the smallest power of 2^(1/64) with which the code takes at
most `bits` bits per number on average. The code is padded to a fixed length, so the size of a set depends only on its
shape and settings. If a number in a row would exceed 31 steps, the step of this row is increased.

Larger integers take more bits, so |x| / s is rounded up only if its fractional part is at least 0.5 + 0.15 / bits
(dead zone: Sullivan 1996, "Efficient scalar quantization of exponential and Laplacian random variables").

For Gaussian numbers, this storage takes 0.26 to 0.29 bits per number more than the rate-distortion bound. Uniform steps
with ideal entropy coding take about 0.25 bits more (Gish and Pierce, 1968, "Asymptotically efficient quantizing").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from omnidistill.models.entropy_coding import LARGEST, decode, encode, ideal_bits, stream_bytes
from omnidistill.models.storages.forms import straight_through
from omnidistill.models.storages.storage import Storage, storages

MOST_BITS = 5
"""Largest average number of bits per number."""

_GRID = 64  # factors c per power of two
_STRIDES = (8, 4, 2, 1)  # of the search on the grid
_DEAD_ZONE = 0.15
_FINEST, _COARSEST = -5 * _GRID, 8 * _GRID  # as exponents of 2^(1 / _GRID)
_BITS_OF_UNIT_STEP = 2.05  # entropy of a Gaussian, rounded to integers times its standard deviation


@storages.register("coded")
class CodedStorage(Storage):
    """Stores rows as entropy-coded integers with any average number of bits, and one quantisation step per row."""

    bits: Annotated[float, Field(ge=0.5, le=MOST_BITS)] = 2.0
    """Average number of bits per value in the entropy code. The quantisation steps (16 bits per row) and the code table
    (132 bytes per modality) are stored in addition. If the largest useful number of rows does not use up a size budget,
    more bits are used."""

    def init(self, rows: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Tensor]:
        """Return a copy of the rows as latent tensors, which are the tensors that distillation learns."""
        return {name: matrix.clone() for name, matrix in rows.items()}

    def expand(self, latent: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "_ _"]]:
        """Return the training rows: the latent tensors, rounded as they will be stored."""
        return {name: straight_through(x, _restored(*self._rounded(x))) for name, x in latent.items()}

    def rate(self, latent: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """Return the rate: how many bits the code takes per number, as a mean over all numbers in `latent`.

        The code length is interpolated linearly between integers, so the rate is differentiable. It can serve as a
        penalty that makes the numbers easier to code. The size of the stored code is fixed, so a lower rate does not
        make it smaller. It makes the quantisation steps finer instead.
        """
        bits = [_code_lengths(x, *self._rounded(x)).sum() for x in latent.values()]
        return torch.stack(bits).sum() / sum(x.numel() for x in latent.values())

    def store(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors "NAME/code", "NAME/table" and "NAME/step" for every modality NAME.

        They contain the entropy-coded integers, the frequency table of the code, and the quantisation steps of the
        rows. The module `models.entropy_coding` defines the code and the table.
        """
        stored: dict[str, Tensor] = {}
        for name, matrix in latent.items():
            levels, steps = self._rounded(matrix)
            code, table = encode(levels, self.bits)
            stored |= {f"{name}/code": code, f"{name}/table": table, f"{name}/step": steps}
        return stored

    def load(self, stored: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "_ _"]]:
        """Return the training rows: the decoded integers multiplied by the quantisation step of their row.

        Raises:
            ValueError: the stored tensors are damaged.
        """
        rows = {}
        for name in (key.removesuffix("/code") for key in stored if key.endswith("/code")):
            steps = stored[f"{name}/step"]
            if steps.ndim != 1 or not steps.is_floating_point() or not bool(steps.isfinite().all()):
                raise ValueError(f"the steps of {name} are not finite numbers, one per row")
            rows[name] = _restored(decode(stored[f"{name}/code"], stored[f"{name}/table"], len(steps)), steps)
        return rows

    def empty(self, widths: Mapping[str, int], num_rows: int) -> dict[str, Tensor]:
        """Return meta tensors with the shapes and types of the stored rows."""
        tensors: dict[str, Tensor] = {}
        for name, width in widths.items():
            num_bytes = stream_bytes(num_rows * width, self.bits)
            tensors[f"{name}/code"] = torch.empty(num_bytes, dtype=torch.uint8, device="meta")
            tensors[f"{name}/table"] = torch.empty(LARGEST + 2, dtype=torch.int32, device="meta")
            tensors[f"{name}/step"] = torch.empty(num_rows, dtype=torch.bfloat16, device="meta")
        return tensors

    @property
    def title(self) -> str:
        """Short description of the storage, such as "2 coded bits"."""
        return f"{self.bits:g} coded bits"

    @torch.no_grad()
    def _rounded(self, rows: Float[Tensor, "N p"]) -> tuple[Int[Tensor, "N p"], Float[Tensor, " N"]]:
        """Return the quantised integers and the step of every row. The steps are as fine as the code size allows."""
        limit, threshold = self.bits * rows.numel(), 0.5 + _DEAD_ZONE / self.bits

        def fits(exponent: int) -> bool:
            return ideal_bits(_quantised(rows, exponent, threshold)[0]) <= limit

        exponent = round(_GRID * (_BITS_OF_UNIT_STEP - self.bits))
        while exponent < _COARSEST and not fits(exponent):
            exponent += _STRIDES[0]
        for stride in _STRIDES:
            while exponent - stride >= _FINEST and fits(exponent - stride):
                exponent -= stride
        return _quantised(rows, exponent, threshold)


def _quantised(rows: Tensor, exponent: int, threshold: float) -> tuple[Tensor, Tensor]:
    factor = 2 ** (exponent / _GRID)
    steps = rows.square().mean(1).sqrt() * factor
    steps = torch.maximum(steps, rows.abs().amax(1) / LARGEST)
    steps = steps.clamp_min(torch.finfo(torch.bfloat16).tiny).bfloat16()  # rows of zeros need a step, too
    scaled = rows / steps.to(rows.dtype).unsqueeze(1)
    levels = (scaled.abs() + (1 - threshold)).floor().clamp(0, LARGEST) * scaled.sign()
    return levels.nan_to_num(0.0).to(torch.int32), steps


def _code_lengths(rows: Tensor, levels: Tensor, steps: Tensor) -> Float[Tensor, "N p"]:
    """Return the number of bits that the entropy code needs for each number, interpolated linearly between integers.

    Gradients treat two quantities as constants: the probabilities of the integers, and the ratio of each step to the
    root mean square of its row. If a row is multiplied by a positive number, its step changes by the same factor. The
    derivative of the code length with respect to this number is therefore 0.
    """
    counts = torch.bincount(levels.abs().flatten(), minlength=LARGEST + 2).to(rows.dtype) + 1
    lengths = (counts.sum() / counts).log2()
    lengths[1:] += 1  # the sign
    sizes = rows.square().mean(1, keepdim=True).sqrt()
    relative = steps.to(rows.dtype).unsqueeze(1) / sizes.detach()
    scaled = (rows.abs() / (relative * sizes)).clamp(max=LARGEST)
    lower = scaled.detach().floor()
    index = lower.long()
    return lengths[index] + (scaled - lower) * (lengths[index + 1] - lengths[index])


def _restored(levels: Int[Tensor, "N p"], steps: Float[Tensor, " N"]) -> Float[Tensor, "N p"]:
    return levels.to(torch.float32) * steps.to(torch.float32).unsqueeze(1)
