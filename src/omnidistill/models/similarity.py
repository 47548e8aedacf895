"""The similarity matrix of the synthetic set, S in R^{N x N}: which synthetic rows count as matching, and how much.

Learned by LoRS and HoPA (Xu et al. 2024, "similarity mining"): S = diag(a) + (alpha / r) L R^T with a = 1, L ~ N(0,
1), R = 0, so that S = I at the start. It costs N (1 + 2 r) numbers. Entries are not clamped, normalised or made
symmetric. A mini-batch I uses the submatrix S[I, I].

A similarity is a specification; its learned tensors live in a plain dict, so that an optimiser or an artifact can
hold them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.config import (
    DiagonalConfig,
    FullConfig,
    GroupsConfig,
    IdentityConfig,
    LowRankConfig,
    SimilarityConfig,
)
from omnidistill.core.errors import InputError
from omnidistill.models.heads import shared_groups


@runtime_checkable
class Similarity(Protocol):
    """How S is stored and read."""

    def init(self, num_rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Tensors of a fresh S = I over `num_rows` rows; those of floating point are learned."""
        ...

    def targets(self, tensors: Mapping[str, Tensor], batches: Int[Tensor, "*t b"]) -> Float[Tensor, "*t b b"]:
        """Submatrices S[I, I] of mini-batches of distinct row indices, differentiable with respect to the tensors."""
        ...


@dataclass(frozen=True)
class FixedIdentity:
    """S = I, nothing learned ("without similarity mining")."""

    def init(self, num_rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        """No tensors."""
        return {}

    def targets(self, tensors: Mapping[str, Tensor], batches: Int[Tensor, "*t b"]) -> Float[Tensor, "*t b b"]:
        """The identity for every batch."""
        size = batches.shape[-1]
        return torch.eye(size, device=batches.device).expand(*batches.shape, size)


@dataclass(frozen=True)
class LowRank:
    """S = diag(a) + (alpha / rank) L R^T."""

    rank: int = 10
    alpha: float = 1.0

    def init(self, num_rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        """a (N), L (N x r) and R (N x r)."""
        if self.rank > num_rows:
            raise InputError(
                f"similarity.rank = {self.rank} exceeds the {num_rows} synthetic rows; use at most {num_rows}"
            )
        return {
            "diagonal": torch.ones(num_rows),
            "left": torch.randn(num_rows, self.rank, generator=generator),
            "right": torch.zeros(num_rows, self.rank),
        }

    def targets(self, tensors: Mapping[str, Tensor], batches: Int[Tensor, "*t b"]) -> Float[Tensor, "*t b b"]:
        """diag(a_I) + (alpha / r) L_I R_I^T."""
        left, right = tensors["left"][batches], tensors["right"][batches]
        return torch.diag_embed(tensors["diagonal"][batches]) + (self.alpha / self.rank) * (left @ right.mT)


@dataclass(frozen=True)
class Diagonal:
    """S = diag(a): how much each row's own pair counts."""

    def init(self, num_rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        """a (N)."""
        return {"diagonal": torch.ones(num_rows)}

    def targets(self, tensors: Mapping[str, Tensor], batches: Int[Tensor, "*t b"]) -> Float[Tensor, "*t b b"]:
        """diag(a_I)."""
        return torch.diag_embed(tensors["diagonal"][batches])


@dataclass(frozen=True)
class SharedGroups:
    """S_ij = 1 where rows i and j are of one group, else 0; nothing learned. What a set of real rows has.

    Row v N + i of a set of views is of the v-th copy of row i's group.
    """

    def init(self, num_rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Group numbers (N, int32), every row a group of its own."""
        return {"groups": torch.arange(num_rows, dtype=torch.int32)}

    def targets(self, tensors: Mapping[str, Tensor], batches: Int[Tensor, "*t b"]) -> Float[Tensor, "*t b b"]:
        """1 for rows of one group."""
        groups = tensors["groups"]
        view, row = batches // len(groups), batches % len(groups)
        return shared_groups(groups[row]) * shared_groups(view)


@dataclass(frozen=True)
class Full:
    """Every entry of S is learned, from the identity."""

    def init(self, num_rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        """The N x N matrix."""
        return {"matrix": torch.eye(num_rows)}

    def targets(self, tensors: Mapping[str, Tensor], batches: Int[Tensor, "*t b"]) -> Float[Tensor, "*t b b"]:
        """S[I, I]."""
        return tensors["matrix"][batches.unsqueeze(-1), batches.unsqueeze(-2)]


def similarity_from(config: SimilarityConfig | GroupsConfig) -> Similarity:
    """The similarity that a configuration names."""
    match config:
        case LowRankConfig():
            return LowRank(config.rank, config.alpha)
        case DiagonalConfig():
            return Diagonal()
        case FullConfig():
            return Full()
        case GroupsConfig():
            return SharedGroups()
        case IdentityConfig():
            return FixedIdentity()
