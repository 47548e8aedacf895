"""Unit embeddings z = y / ||y|| and the pull-back of a gradient through the normalisation.

dL/dy = (dL/dz - (dL/dz . z) z) / ||y||. Every objective here sees only unit embeddings, so its gradient is orthogonal
to y, and a row of the synthetic set is a direction: scaling it changes nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

LEAST_NORM = 1e-12


def normalise(outputs: Float[Tensor, "*r d"]) -> tuple[Float[Tensor, "*r d"], Float[Tensor, "*r 1"]]:
    """Unit embeddings and the norms of the head outputs (at least `LEAST_NORM`)."""
    norms = torch.linalg.vector_norm(outputs, dim=-1, keepdim=True).clamp_min(LEAST_NORM)
    return outputs / norms, norms


def pull_back(
    gradient: Float[Tensor, "*r d"], embeddings: Float[Tensor, "*r d"], norms: Float[Tensor, "*r 1"]
) -> Float[Tensor, "*r d"]:
    """Gradient with respect to the head outputs from the one with respect to the unit embeddings."""
    radial = (gradient * embeddings).sum(-1, keepdim=True)
    return torch.addcmul(gradient, radial, embeddings, value=-1) / norms


def inner_products(left: Float[Tensor, "*r n d"], right: Float[Tensor, "*r k d"]) -> Float[Tensor, "*r n k"]:
    """left right^T, whose gradients are taken as products with rows of length d (autograd's own are transposed and
    slow).
    """
    result: Tensor = _InnerProducts.apply(left, right)  # type: ignore[no-untyped-call]
    return result


def gram(rows: Float[Tensor, "*r n d"]) -> Float[Tensor, "*r n n"]:
    """x x^T, whose gradient is taken as one product, (G + G^T) x."""
    result: Tensor = _Gram.apply(rows)  # type: ignore[no-untyped-call]
    return result


class _InnerProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(left, right)
        return left @ right.mT

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        left, right = ctx.saved_tensors
        return grads[0] @ right, grads[0].mT @ left


class _Gram(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        return rows @ rows.mT

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (rows,) = ctx.saved_tensors
        result: Tensor = (grads[0] + grads[0].mT) @ rows
        return result
