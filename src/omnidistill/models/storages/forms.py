"""Forms of rows: what is learned -> what is stored -> the rows that students train on.

    init       real rows        -> latent tensors, float32: what the outer loop learns
    expand     latent tensors   -> trained rows, differentiable: training knows what storage will do to them
    store      latent tensors   -> stored tensors, as small as they get
    load       stored tensors   -> trained rows, those of `expand` to the last bit

Rounding has no derivative worth having; `expand` takes that of the identity (straight-through: Bengio et al. 2013).

    Plain      float32                  Bits(b)           b-bit integers and one step a row
    Half       float16                  Views(inner, V)   V rows for each stored one, by fixed patterns of signs
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
"""One row matrix per modality."""

VIEWS_SEED = 0
"""Of the sign patterns of every set; another would make the sets on disk other sets."""


@runtime_checkable
class RowForm(Protocol):
    """How rows are learned and stored. `store` and `load` take and give plain dicts of tensors."""

    def init(self, rows: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Tensor]:
        """Latent tensors, in memory of their own, that start from the given rows."""
        ...

    def expand(self, latent: Mapping[str, Tensor]) -> Rows:
        """The rows to train on, differentiable with respect to every latent tensor."""
        ...

    def store(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What is kept of them."""
        ...

    def load(self, stored: Mapping[str, Tensor]) -> Rows:
        """The rows to train on: exactly what `expand` gives for the latent tensors that were stored."""
        ...


@dataclass(frozen=True)
class Plain:
    """Rows are learned and stored as they are, float32."""

    def init(self, rows: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Tensor]:
        """A copy of the rows."""
        return {name: matrix.clone() for name, matrix in rows.items()}

    def expand(self, latent: Mapping[str, Tensor]) -> Rows:
        """The rows."""
        return dict(latent)

    def store(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The rows."""
        return dict(latent)

    def load(self, stored: Mapping[str, Tensor]) -> Rows:
        """The rows."""
        return dict(stored)


@dataclass(frozen=True)
class Half(Plain):
    """Rows are stored as float16; what exceeds its range becomes its largest number."""

    def expand(self, latent: Mapping[str, Tensor]) -> Rows:
        """The rows, rounded."""
        rounded = self.load(self.store(latent))
        return {name: straight_through(matrix, rounded[name]) for name, matrix in latent.items()}

    def store(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """N x p_m of float16."""
        top = torch.finfo(torch.float16).max
        return {name: matrix.detach().clamp(-top, top).half() for name, matrix in latent.items()}

    def load(self, stored: Mapping[str, Tensor]) -> Rows:
        """The same numbers in float32."""
        return {name: matrix.float() for name, matrix in stored.items()}


@dataclass(frozen=True)
class Bits(Plain):
    """Rows are stored as integers of 2 to 8 bits, with one float32 step a row (see `quantise`)."""

    bits: int

    def expand(self, latent: Mapping[str, Tensor]) -> Rows:
        """The rows, rounded."""
        return {
            name: straight_through(matrix, dequantise(*quantise(matrix, self.bits), self.bits))
            for name, matrix in latent.items()
        }

    def store(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Per modality "NAME/codes" (N x bytes, uint8) and "NAME/step" (N)."""
        stored: dict[str, Tensor] = {}
        for name, matrix in latent.items():
            codes, step = quantise(matrix, self.bits)
            stored |= {f"{name}/codes": pack_codes(codes, self.bits), f"{name}/step": step}
        return stored

    def load(self, stored: Mapping[str, Tensor]) -> Rows:
        """Integers times steps."""
        names = [name.removesuffix("/codes") for name in stored if name.endswith("/codes")]
        return {
            name: dequantise(unpack_codes(stored[f"{name}/codes"], self.bits), stored[f"{name}/step"], self.bits)
            for name in names
        }


@dataclass(frozen=True)
class Views:
    """V rows to train on for each stored one: row v N + i is row i times the v-th pattern of signs, row i itself the
    row as it is stored. The patterns are drawn from the seed and the modality's name, and not stored.
    """

    inner: RowForm
    num_views: int
    seed: int = VIEWS_SEED

    def init(self, rows: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Tensor]:
        """Those of the stored rows."""
        return self.inner.init(rows)

    def expand(self, latent: Mapping[str, Tensor]) -> Rows:
        """All views of the rows."""
        return self._spread(self.inner.expand(latent))

    def store(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those of the rows."""
        return self.inner.store(latent)

    def load(self, stored: Mapping[str, Tensor]) -> Rows:
        """All views of the rows."""
        return self._spread(self.inner.load(stored))

    def signs(self, name: str, width: int) -> Float[Tensor, "V p"]:
        """The patterns of a modality, the first of ones alone."""
        drawn = torch.randint(2, (self.num_views - 1, width), generator=Streams(self.seed)[f"views/{name}"])
        return torch.cat([torch.ones(1, width), 2.0 * drawn - 1])

    def _spread(self, rows: Rows) -> Rows:
        return {name: (self.signs(name, x.shape[1]).unsqueeze(1) * x).flatten(0, 1) for name, x in rows.items()}


def straight_through(latent: Float[Tensor, "*r"], kept: Float[Tensor, "*r"]) -> Float[Tensor, "*r"]:
    """`kept`, with the derivative of `latent`."""
    result: Tensor = _StraightThrough.apply(latent, kept)  # type: ignore[no-untyped-call]
    return result


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, latent: Tensor, kept: Tensor) -> Tensor:
        return kept.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None
