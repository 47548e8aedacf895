"""Unit embeddings z = y / ||y|| and the pull-back of a gradient through the normalisation.

dL/dy = (dL/dz - (dL/dz . z) z) / ||y||. Every objective here sees only unit embeddings, so its gradient is orthogonal
to y, and a row of the synthetic set is a direction: scaling it changes nothing.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def normalise(outputs: Float[Tensor, "*r d"]) -> tuple[Float[Tensor, "*r d"], Float[Tensor, "*r 1"]]:
    """Unit embeddings and the norms of the head outputs (norms floored at 1e-12)."""
    norms = torch.linalg.vector_norm(outputs, dim=-1, keepdim=True).clamp_min(1e-12)
    return outputs / norms, norms


def pull_back(
    gradient: Float[Tensor, "*r d"], embeddings: Float[Tensor, "*r d"], norms: Float[Tensor, "*r 1"]
) -> Float[Tensor, "*r d"]:
    """Gradient with respect to the head outputs from the one with respect to the unit embeddings."""
    radial = (gradient * embeddings).sum(-1, keepdim=True)
    return torch.addcmul(gradient, radial, embeddings, value=-1) / norms
