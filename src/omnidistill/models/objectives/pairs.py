"""Pairs of modalities in pairwise objectives: all pairs, or those that contain an anchor (T-bind, V-bind).

A pairwise objective is the sum over pairs (m, n) of a loss of the cosine matrix c_mn = Z_m Z_n^T.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.models.objectives.sphere import inner_products


@lru_cache(maxsize=64)
def modality_pairs(
    num_modalities: int, anchor: int | None = None, device: torch.device | None = None
) -> tuple[Int[Tensor, " P"], Int[Tensor, " P"]]:
    """Return the indices (left, right) of the pairs: all M(M-1)/2, or the M-1 that contain the anchor."""
    pairs = list(combinations(range(num_modalities), 2))
    if anchor is not None:
        pairs = [pair for pair in pairs if anchor in pair]
    left, right = torch.tensor(pairs, device=device).unbind(1)
    return left, right


def cosines(
    embeddings: Float[Tensor, "*r M b d"], left: Int[Tensor, " P"], right: Int[Tensor, " P"]
) -> Float[Tensor, "*r P b b"]:
    """Return the cosine matrix of every pair."""
    return inner_products(embeddings.index_select(-3, left), embeddings.index_select(-3, right))
