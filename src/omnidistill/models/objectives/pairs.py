"""Pairs of modalities in pairwise objectives: all pairs, or those that contain an anchor (T-bind, V-bind).

A pairwise objective is the sum over pairs (m, n) of a loss of the cosine matrix c_mn = Z_m Z_n^T.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.models.objectives.sphere import inner_products


def modality_pairs(
    num_modalities: int, anchor: int | None = None, device: torch.device | None = None
) -> tuple[Int[Tensor, " P"], Int[Tensor, " P"]]:
    """Return the indices (left, right) of the pairs: all M(M-1)/2, or the M-1 that contain the anchor.

    They are computed on the device, without a copy to it.
    """
    if anchor is None:
        left, right = torch.triu_indices(num_modalities, num_modalities, 1, device=device or "cpu").unbind(0)
        return left, right
    others = torch.arange(num_modalities - 1, device=device or "cpu")
    others = others + (others >= anchor)
    return others.clamp(max=anchor), others.clamp(min=anchor)


def cosines(
    embeddings: Float[Tensor, "*r M b d"], left: Int[Tensor, " P"], right: Int[Tensor, " P"]
) -> Float[Tensor, "*r P b b"]:
    """Return the cosine matrix of every pair."""
    return inner_products(embeddings.index_select(-3, left), embeddings.index_select(-3, right))
