"""GraNd (Paul et al. 2021): rows with the largest contribution to the gradient of the heads early in training.

Let x_im be the features of row i in modality m, and delta_im the gradient of InfoNCE with respect to the head output of
this row and modality. The score of row i is

score_i = ( sum_m || delta_im x_im^T ||_F^2 )^(1/2) = ( sum_m ||delta_im||^2 ||x_im||^2 )^(1/2)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.methods.selectors.selector import RowSelector, check_size, selectors
from omnidistill.methods.selectors.softmax_errors import early_heads, row_deltas, squared_lengths
from omnidistill.methods.selectors.turns import highest_by_turns
from omnidistill.models.heads import Heads


def grand(
    train: FeatureSet,
    start: Heads,
    size: int,
    generator: torch.Generator,
    trajectory: Sequence[Heads] | None = None,
) -> Int[Tensor, " N"]:
    """Select the rows with the highest scores, spread evenly over the groups. `generator` is not used.

    The scores use the heads after the first epoch of the trajectory or, without a trajectory, the initial heads.
    """
    check_size(size, len(train))
    scores = grand_scores(train, early_heads(start, trajectory))
    return highest_by_turns(scores, train.group_codes, size)


def grand_scores(train: FeatureSet, heads: Heads) -> Float[Tensor, " n"]:
    """Return the norm of each row's contribution to the gradient of InfoNCE with respect to all heads."""
    deltas = row_deltas(train, heads)
    return (deltas.square().sum(-1) * squared_lengths(train)).sum(1).sqrt()


@selectors.register("grand")
class Grand(RowSelector):
    """Rows with the largest gradient norm early in training (GraNd)."""

    cites: ClassVar[tuple[str, ...]] = ("data-diet",)

    def rows(
        self,
        train: FeatureSet,
        start: Heads,
        size: int,
        generator: torch.Generator,
        trajectory: Sequence[Heads] | None = None,
    ) -> Int[Tensor, " N"]:
        """Return the indices of the selected rows."""
        return grand(train, start, size, generator, trajectory)
