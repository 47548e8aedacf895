"""Row forms: conversions between learned (latent) tensors, stored tensors, and the rows that students train on.

    init       initial rows     -> latent tensors, float32, which the outer loop learns
    expand     latent tensors   -> training rows, differentiable, rounded as they will be stored
    store      latent tensors   -> stored tensors, in their compact format
    load       stored tensors   -> training rows, bit for bit equal to the result of `expand`

The derivative of rounding is zero almost everywhere. `expand` therefore uses the derivative of the identity
(straight-through estimator, Bengio et al. 2013). This module has four row forms:

    Plain      float32
    Half       float16
    Bits       integers of 2 to 8 bits, and one quantisation step per row
    Views      rows in one of the other forms; fixed sign patterns turn each stored row into several training rows
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.streams import Streams
from omnidistill.models.quantise import dequantise, pack_codes, quantise, unpack_codes

Rows = dict[str, Float[Tensor, "_ _"]]
"""{modality: rows x width}."""

VIEWS_SEED = 0
"""Seed for the sign patterns in all sets. Changing it would change the rows of existing sets on disk."""


@runtime_checkable
class RowForm(Protocol):
    """Base class of row forms, which define how synthetic rows are learned and stored."""

    def init(self, rows: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Tensor]:
        """Return new latent (learned) tensors that represent the given rows."""
        ...

    def expand(self, latent: Mapping[str, Tensor]) -> Rows:
        """Return the rows that students train on. They are differentiable with respect to every latent tensor."""
        ...

    def store(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert latent tensors to the tensors to store."""
        ...

    def load(self, stored: Mapping[str, Tensor]) -> Rows:
        """Convert stored tensors to training rows, bitwise equal to the result of `expand` for the latent tensors."""
        ...


@dataclass(frozen=True)
class Plain:
    """Rows are learned and stored unchanged, in float32."""

    def init(self, rows: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Tensor]:
        """Return a copy of the rows as latent (learned) tensors."""
        return {name: matrix.clone() for name, matrix in rows.items()}

    def expand(self, latent: Mapping[str, Tensor]) -> Rows:
        """Return the latent (learned) tensors, which are the training rows themselves."""
        return dict(latent)

    def store(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the latent (learned) tensors, which are stored unchanged."""
        return dict(latent)

    def load(self, stored: Mapping[str, Tensor]) -> Rows:
        """Return the stored tensors, which are the training rows themselves."""
        return dict(stored)


@dataclass(frozen=True)
class Half(Plain):
    """Rows are stored in float16. Values outside the range of float16 are clamped."""

    def expand(self, latent: Mapping[str, Tensor]) -> Rows:
        """Return the training rows: the latent (learned) tensors rounded to float16."""
        rounded = self.load(self.store(latent))
        return {name: straight_through(matrix, rounded[name]) for name, matrix in latent.items()}

    def store(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the rows in float16, N x p_m for N rows and feature width p_m."""
        top = torch.finfo(torch.float16).max
        return {name: matrix.detach().clamp(-top, top).half() for name, matrix in latent.items()}

    def load(self, stored: Mapping[str, Tensor]) -> Rows:
        """Return the training rows: the stored rows converted to float32."""
        return {name: matrix.float() for name, matrix in stored.items()}


@dataclass(frozen=True)
class Bits(Plain):
    """Rows are stored as 2-bit to 8-bit integers and one float32 quantisation step per row (`models.quantise`)."""

    bits: int

    def expand(self, latent: Mapping[str, Tensor]) -> Rows:
        """Return the training rows: the latent (learned) tensors rounded to the stored precision."""
        return {
            name: straight_through(matrix, dequantise(*quantise(matrix, self.bits), self.bits))
            for name, matrix in latent.items()
        }

    def store(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the packed integers and the quantisation steps of every modality NAME.

        For N rows, the integers are "NAME/codes" (N x bytes per row, uint8), and the steps are "NAME/step" (N values).
        """
        stored: dict[str, Tensor] = {}
        for name, matrix in latent.items():
            codes, step = quantise(matrix, self.bits)
            stored |= {f"{name}/codes": pack_codes(codes, self.bits), f"{name}/step": step}
        return stored

    def load(self, stored: Mapping[str, Tensor]) -> Rows:
        """Return the training rows: the stored integers multiplied by the quantisation step of their row."""
        names = [name.removesuffix("/codes") for name in stored if name.endswith("/codes")]
        return {
            name: dequantise(unpack_codes(stored[f"{name}/codes"], self.bits), stored[f"{name}/step"], self.bits)
            for name in names
        }


@dataclass(frozen=True)
class Views:
    """Each stored row gives V training rows (views): its products with V fixed patterns of +1 and -1.

    View v of stored row i is training row v * N + i, where N is the number of stored rows. Pattern 0 is all ones. The
    patterns are not stored. They are generated from the seed and the name of the modality.
    """

    inner: RowForm
    num_views: int
    seed: int = VIEWS_SEED

    def init(self, rows: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Tensor]:
        """Return the tensors to learn (latent tensors), initialised with the given rows.

        They have as many rows as the matrices in `rows`. `expand` computes V training rows from each of these rows.
        """
        return self.inner.init(rows)

    def expand(self, latent: Mapping[str, Tensor]) -> Rows:
        """Return the training rows: every row times every sign pattern."""
        return self._all_views(self.inner.expand(latent))

    def store(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors to store. The sign patterns are not stored."""
        return self.inner.store(latent)

    def load(self, stored: Mapping[str, Tensor]) -> Rows:
        """Return the training rows: the elementwise products of every stored row with every sign pattern."""
        return self._all_views(self.inner.load(stored))

    def signs(self, name: str, width: int) -> Float[Tensor, "V p"]:
        """Return the V patterns of +1 and -1 for a modality, on the CPU. The first pattern is all ones.

        A view of a stored row is the elementwise product of the row and one pattern.
        """
        shape = self.num_views - 1, width
        drawn = torch.randint(2, shape, generator=Streams(self.seed)[f"views/{name}"], device="cpu")
        return torch.cat([torch.ones(1, width, device="cpu"), 2.0 * drawn - 1])

    def _all_views(self, rows: Rows) -> Rows:
        signs = {name: self.signs(name, x.shape[1]).to(x.device) for name, x in rows.items()}
        return {name: (signs[name].unsqueeze(1) * x).flatten(0, 1) for name, x in rows.items()}


def straight_through(latent: Float[Tensor, "*r"], rounded: Float[Tensor, "*r"]) -> Float[Tensor, "*r"]:
    """Return the values of `rounded`. Gradients pass to `latent` as if there were no rounding (straight-through)."""
    result: Tensor = _StraightThrough.apply(latent, rounded)  # type: ignore[no-untyped-call]
    return result


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, latent: Tensor, rounded: Tensor) -> Tensor:
        return rounded.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None
