"""CRAIG (Mirzasoleiman et al. 2020): rows whose gradients represent the gradients of all rows.

Let g_i be the contribution of row i to the gradient of the loss with respect to the heads, taken at the initial heads.
The set S of selected rows minimises the sum over all rows i

    sum_i min_{j in S} || g_i - g_j ||

This problem is facility location with the similarity -||g_i - g_j||. It is solved greedily.

Distances need only inner products of gradients. Let x_im be the features of row i in modality m, and delta_im the
gradient of the loss with respect to the head output for this row. The part of g_i that belongs to the head of modality
m is delta_im x_im^T. Therefore

    <g_i, g_j> = sum_m <delta_im, delta_jm> <x_im, x_jm>
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.methods.selectors.cover import greedy_cover
from omnidistill.methods.selectors.selector import RowSelector, check_size, selectors
from omnidistill.methods.selectors.softmax_errors import row_deltas, squared_lengths
from omnidistill.models.heads import Heads


def craig(
    train: FeatureSet,
    start: Heads,
    size: int,
    generator: torch.Generator,
    trajectory: Sequence[Heads] | None = None,
) -> Int[Tensor, " N"]:
    """Select rows greedily by their gradients at the initial heads. The rows are spread evenly over the groups.

    The selection is deterministic, so `generator` is not used.
    """
    check_size(size, len(train))
    deltas = row_deltas(train, start)
    squares = (deltas.square().sum(-1) * squared_lengths(train)).sum(1)

    def similarity_of(rows: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        squared = squares[rows].unsqueeze(1) + squares - 2 * gradient_products(train, deltas, rows)
        squared[torch.arange(len(rows), device=rows.device), rows] = 0
        return -squared.clamp_min_(0).sqrt_()

    floor = -2 * float(squares.max().sqrt())
    return greedy_cover(similarity_of, floor, train.group_codes, size)


def gradient_products(
    train: FeatureSet, deltas: Float[Tensor, "n M d"], rows: Int[Tensor, " b"]
) -> Float[Tensor, "b n"]:
    """Return the inner products <g_i, g_j> between the gradients of the given rows i and of all rows j."""
    products = torch.zeros(len(rows), len(train), device=deltas.device)
    for m, x in enumerate(train.features.values()):
        products += (deltas[rows, m] @ deltas[:, m].mT) * (x[rows] @ x.mT)
    return products


@selectors.register("craig")
class Craig(RowSelector):
    """Rows whose gradients represent those of all rows (CRAIG)."""

    cites: ClassVar[tuple[str, ...]] = ("craig",)

    def rows(
        self,
        train: FeatureSet,
        start: Heads,
        size: int,
        generator: torch.Generator,
        trajectory: Sequence[Heads] | None = None,
    ) -> Int[Tensor, " N"]:
        """Return the indices of the selected rows."""
        return craig(train, start, size, generator, trajectory)
