"""Pairs of modalities for pairwise objectives: all pairs, or only those that contain an anchor modality.

Let Z_m be the unit embeddings of modality m. A pairwise objective applies a loss to the cosine matrix Z_m Z_n^T of each
pair (m, n), and sums over the pairs.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.models.objectives.sphere import inner_products


def modality_pairs(
    num_modalities: int, anchor: int | None = None, device: torch.device | None = None
) -> tuple[Int[Tensor, " P"], Int[Tensor, " P"]]:
    """Return the indices (left, right) of all M(M-1)/2 pairs, or of the M-1 pairs that contain the modality `anchor`.

    The indices are computed directly on the device.
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
    """Return the matrix of cosine similarities for every pair of modalities."""
    return inner_products(embeddings.index_select(-3, left), embeddings.index_select(-3, right))
