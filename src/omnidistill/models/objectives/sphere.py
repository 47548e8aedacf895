"""Normalisation of head outputs y to unit embeddings z = y / ||y||, and its gradient.

    dL/dy = (dL/dz - (dL/dz . z) z) / ||y||

All objectives depend only on unit embeddings. Therefore the loss does not change if an output y is multiplied by a
positive number, and dL/dy is orthogonal to y. For a head y = W x, the loss also does not depend on the length of x.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

LEAST_NORM = 1e-12


def normalise(outputs: Float[Tensor, "*r d"]) -> tuple[Float[Tensor, "*r d"], Float[Tensor, "*r 1"]]:
    """Return the unit embeddings and the norms of the outputs. Norms below `LEAST_NORM` are replaced by it."""
    norms = torch.linalg.vector_norm(outputs, dim=-1, keepdim=True).clamp_min(LEAST_NORM)
    return outputs / norms, norms


def pull_back(
    gradient: Float[Tensor, "*r d"], embeddings: Float[Tensor, "*r d"], norms: Float[Tensor, "*r 1"]
) -> Float[Tensor, "*r d"]:
    """Convert the gradient with respect to unit embeddings to the gradient with respect to head outputs."""
    radial = (gradient * embeddings).sum(-1, keepdim=True)
    return torch.addcmul(gradient, radial, embeddings, value=-1) / norms


def inner_products(left: Float[Tensor, "*r n d"], right: Float[Tensor, "*r k d"]) -> Float[Tensor, "*r n k"]:
    """Return the inner products of all rows of `left` and `right`, with a faster backward pass than `torch.matmul`.

    The backward pass multiplies contiguous rows of length d, whereas that of torch multiplies transposed matrices.
    """
    result: Tensor = _InnerProducts.apply(left, right)  # type: ignore[no-untyped-call]
    return result


def gram(rows: Float[Tensor, "*r n d"]) -> Float[Tensor, "*r n n"]:
    """Return the Gram matrix x x^T. The backward pass needs only one matrix product, (G + G^T) x for a gradient G."""
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
