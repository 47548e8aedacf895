"""Symmetric InfoNCE of a similarity matrix, with any number of positives, and its derivative.

    L = 1/2 [ CE(rows of x, rows of T) + CE(columns of x, columns of T) ],   x = s / tau, mean over the b queries
    dL/ds = ( rowsoftmax(x) - Trow + colsoftmax(x) - Tcol ) / (2 b tau)

s (b x b) is the similarity matrix, T contains the affinities, and CE is the cross-entropy. Trow and Tcol are T,
normalised to sum to one in each row or column. The sums are clamped from below at 0.1, because they may vanish if T is
learned.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def infonce(similarity: Float[Tensor, "*r b b"], targets: Float[Tensor, "*#r b b"], tau: float) -> Float[Tensor, "*r"]:
    """Return one loss per similarity matrix (b x b); any leading dimensions are allowed."""
    logits = similarity / tau
    rows, columns = _normalised(targets)
    losses = rows * torch.log_softmax(logits, -1) + columns * torch.log_softmax(logits, -2)
    return losses.sum((-2, -1)) / (-2 * similarity.shape[-1])


def infonce_gradient(
    similarity: Float[Tensor, "*r b b"], targets: Float[Tensor, "*#r b b"], tau: float
) -> Float[Tensor, "*r b b"]:
    """Return d InfoNCE / d similarity. The result is differentiable with respect to similarity and targets."""
    logits = similarity / tau
    rows, columns = _normalised(targets)
    predicted = torch.softmax(logits, -1) + torch.softmax(logits, -2)
    return (predicted - (rows + columns)) / (2 * similarity.shape[-1] * tau)


def _normalised(targets: Tensor) -> tuple[Tensor, Tensor]:
    rows = targets / targets.sum(-1, keepdim=True).clamp_min(_LEAST_SUM)
    columns = targets / targets.sum(-2, keepdim=True).clamp_min(_LEAST_SUM)
    return rows, columns


_LEAST_SUM = 0.1
