"""Prediction errors of InfoNCE over all rows: softmax minus target, in both directions of every pair of modalities.

Let z_im be the unit embedding of row i in modality m, and tau the temperature. The target T_ij is 1 / |group| if rows i
and j are in the same group, and 0 otherwise. L is the loss `objectives.infonce` with these targets. For a pair (m, m')
of modalities with the cosine similarities c_ij = <z_im, z_jm'>,

    forward_ij  = exp(c_ij / tau) / sum_k exp(c_ik / tau) - T_ij        queries from m, items from m'
    backward_ij = exp(c_ij / tau) / sum_k exp(c_kj / tau) - T_ij        queries from m', items from m
    dL / dc_ij  = (forward_ij + backward_ij) / (2 n tau)

Let x_im be the features of row i, and y_im = W_m x_im the output of head m. With delta_im = dL/dy_im, row i contributes
delta_im x_im^T to the gradient of head m. The contributions of all rows sum to dL/dW_m.

Shapes: n rows, M modalities, d embedding width, b rows per chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.methods.selectors.embeddings import head_outputs, row_chunks
from omnidistill.models.heads import Heads
from omnidistill.models.objectives.infonce import InfoNCE
from omnidistill.models.objectives.sphere import normalise, pull_back

TAU = InfoNCE().tau

Errors = tuple[int, int, slice, Float[Tensor, "b n"], Float[Tensor, "b n"]]
"""Modalities m and n, the rows of m in this chunk, and `forward` and `backward` for these rows and all rows of n."""


def early_heads(start: Heads, trajectory: Sequence[Heads] | None) -> Heads:
    """Return the heads after the first epoch of a trajectory, or the initial heads if there is no trajectory."""
    return trajectory[min(1, len(trajectory) - 1)] if trajectory else start


def softmax_errors(embeddings: Float[Tensor, "n M d"], codes: Int[Tensor, " n"]) -> Iterator[Errors]:
    """Yield the prediction errors (softmax minus target) once for every pair of modalities, in chunks of rows."""
    num_rows, num_modalities, _ = embeddings.shape
    group_sizes = codes.bincount()[codes]
    for m, n in combinations(range(num_modalities), 2):
        left, right = embeddings[:, m], embeddings[:, n]
        to_rows, to_columns = left.new_empty(num_rows, 1), left.new_zeros(num_rows)
        for rows in row_chunks(num_rows, num_rows):
            weights = _weights(left[rows], right)
            to_rows[rows, 0] = weights.sum(1)
            to_columns += weights.sum(0)
        for rows in row_chunks(num_rows, num_rows):
            weights = _weights(left[rows], right)
            targets = (codes[rows].unsqueeze(1) == codes) / group_sizes
            yield m, n, rows, weights / to_rows[rows] - targets, weights / to_columns - targets


def row_deltas(train: FeatureSet, heads: Heads) -> Float[Tensor, "n M d"]:
    """Return dL/dy, the gradient of InfoNCE with respect to the head outputs, for every training row and modality."""
    embeddings, norms = normalise(head_outputs(train, heads))
    codes = train.group_codes
    gradient = torch.zeros_like(embeddings)
    for m, n, rows, forward, backward in softmax_errors(embeddings, codes):
        errors = (forward + backward) / (2 * len(train) * TAU)
        gradient[rows, m] += errors @ embeddings[:, n]
        gradient[:, n] += errors.mT @ embeddings[rows, m]
    return pull_back(gradient, embeddings, norms)


def squared_lengths(train: FeatureSet) -> Float[Tensor, "n M"]:
    """Return ||x_im||^2, the squared norm of the features of row i in modality m, for every row and modality."""
    return torch.stack([x.square().sum(1) for x in train.features.values()], dim=1)


def _weights(queries: Tensor, items: Tensor) -> Tensor:
    """Return exp((c - 1) / tau) for cosines c in [-1, 1], so values are at most about 1.

    The temperature tau (`TAU`) is large enough that no value underflows to 0.
    """
    return ((queries @ items.mT - 1) / TAU).exp()
