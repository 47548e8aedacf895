"""Symmetric InfoNCE of a similarity matrix, with any number of positives, and its derivative.

s (b x b) is the similarity matrix, T (b x b) contains the target similarities, and tau is the temperature. T_row and
T_col are T divided by the sums of its rows and of its columns. CE is the cross-entropy, averaged over the b rows or
columns. With x = s / tau,

    L = 1/2 [ CE(rows of x, T_row) + CE(columns of x, T_col) ]
    dL/ds = ( rowsoftmax(x) - T_row + colsoftmax(x) - T_col ) / (2 b tau)

A row or column sum below 0.1 is replaced by 0.1, because a learned T can have sums close to zero.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def infonce(similarity: Float[Tensor, "*r b b"], targets: Float[Tensor, "*#r b b"], tau: float) -> Float[Tensor, "*r"]:
    """Return the InfoNCE loss of every similarity matrix (b x b). Any leading dimensions are allowed."""
    logits = similarity / tau
    rows, columns = _normalised(targets)
    losses = rows * torch.log_softmax(logits, -1) + columns * torch.log_softmax(logits, -2)
    return losses.sum((-2, -1)) / (-2 * similarity.shape[-1])


def infonce_gradient(
    similarity: Float[Tensor, "*r b b"], targets: Float[Tensor, "*#r b b"], tau: float
) -> Float[Tensor, "*r b b"]:
    """Return the gradient of InfoNCE with respect to `similarity`. The result is differentiable."""
    logits = similarity / tau
    rows, columns = _normalised(targets)
    predicted = torch.softmax(logits, -1) + torch.softmax(logits, -2)
    return (predicted - (rows + columns)) / (2 * similarity.shape[-1] * tau)


def _normalised(targets: Tensor) -> tuple[Tensor, Tensor]:
    rows = targets / targets.sum(-1, keepdim=True).clamp_min(_LEAST_SUM)
    columns = targets / targets.sum(-2, keepdim=True).clamp_min(_LEAST_SUM)
    return rows, columns


_LEAST_SUM = 0.1
