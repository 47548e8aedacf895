"""Weighted binary cross-entropy (wBCE) between similarities and their targets (LoRS, Xu et al. 2024; HoPA eq. 9).

Let s (b x b) be the similarities of a batch, t their targets, tau the temperature, x_ij = s_ij / tau and
q_ij = sigmoid(x_ij). P is the set of positive pairs (t_ij > threshold), and Q the set of negative pairs. Then

    l_ij = -t_ij log q_ij - (1 - t_ij) log(1 - q_ij)                    loss of one pair
    wBCE = sum_ij w_ij l_ij                                             w_ij = 1/|P| in P, 1/|Q| in Q
    d wBCE / d s_ij = w_ij (q_ij - t_ij) / tau

These weights w_ij belong to the reduction "sum". The reduction "mean" halves them, as the public LoRS code does, and
"plain" sets all to 1/b^2. The weights are constants for differentiation. Targets may be outside [0, 1].

The public LoRS code adds epsilon = 1e-6 to the arguments of both logarithms and to the counts |P| and |Q|. The loss is
then bounded, and the gradient vanishes where the student is certain but wrong:

    d l_ij / d s_ij = q_ij (1 - q_ij) ((1 - t_ij) / (1 - q_ij + epsilon) - t_ij / (q_ij + epsilon)) / tau
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Reduction = Literal["sum", "mean", "plain"]


def wbce(
    similarity: Float[Tensor, "*r b b"],
    targets: Float[Tensor, "*r b b"],
    tau: float,
    threshold: float,
    reduction: Reduction,
    epsilon: float = 0.0,
) -> Float[Tensor, "*r"]:
    """Return one loss per similarity matrix (b x b); any leading dimensions are allowed.

    Args:
        similarity: similarities s.
        targets: targets t.
        tau: temperature of the similarities.
        threshold: targets above it are positives.
        reduction: how the losses of positives and negatives are combined.
        epsilon: number added inside the logarithms and to the counts; see the module docstring.
    """
    logits = similarity / tau
    if epsilon:
        positive, negative = (torch.log(torch.sigmoid(x) + epsilon) for x in (logits, -logits))
        losses = -targets * positive - (1 - targets) * negative
    else:
        losses = torch.nn.functional.softplus(logits) - targets * logits
    return (_weights(targets, threshold, reduction, epsilon) * losses).sum((-2, -1))


def wbce_gradient(
    similarity: Float[Tensor, "*r b b"],
    targets: Float[Tensor, "*#r b b"],
    tau: float,
    threshold: float,
    reduction: Reduction,
    epsilon: float = 0.0,
) -> Float[Tensor, "*r b b"]:
    """Return the gradient d wBCE / d similarity, differentiable with respect to similarity and targets. See `wbce`."""
    weights, logits = _weights(targets, threshold, reduction, epsilon) / tau, similarity / tau
    if epsilon:
        q, rest = torch.sigmoid(logits), torch.sigmoid(-logits)
        return weights * q * rest * ((1 - targets) / (rest + epsilon) - targets / (q + epsilon))
    return weights * (torch.sigmoid(logits) - targets)


def _weights(targets: Tensor, threshold: float, reduction: Reduction, epsilon: float) -> Tensor:
    total = targets.shape[-1] * targets.shape[-2]
    if reduction == "plain":
        return torch.full_like(targets, 1 / total)
    scale = 1.0 if reduction == "sum" else 0.5
    with torch.no_grad():
        positive = (targets > threshold).to(targets.dtype)
        count = positive.sum((-2, -1), keepdim=True)
        per_positive = scale / (count.clamp_min(1) + epsilon)
        per_negative = scale / ((total - count).clamp_min(1) + epsilon)
        return per_negative + positive * (per_positive - per_negative)
