"""EL2N (Paul et al. 2021): rows with the largest prediction errors early in training.

Let z_im be the unit embedding of row i in modality m, T_i the targets of row i, and tau the temperature of InfoNCE. A
direction (m, n) has queries in modality m and items in n. With a softmax over all rows j, the score of row i is

    score_i = ( sum over directions (m, n) of || softmax_j(<z_im, z_jn> / tau) - T_i ||^2 )^(1/2)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.methods.selectors.embeddings import unit_embeddings
from omnidistill.methods.selectors.selector import RowSelector, check_size, selectors
from omnidistill.methods.selectors.softmax_errors import early_heads, softmax_errors
from omnidistill.methods.selectors.turns import highest_by_turns
from omnidistill.models.heads import Heads


def el2n(
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
    scores = el2n_scores(train, early_heads(start, trajectory))
    return highest_by_turns(scores, train.group_codes, size)


def el2n_scores(train: FeatureSet, heads: Heads) -> Float[Tensor, " n"]:
    """Return, for each row, the norm of its prediction errors: softmax over similarities minus targets."""
    embeddings = unit_embeddings(train, heads)
    codes = train.group_codes
    squares = embeddings.new_zeros(len(train))
    for _, _, rows, forward, backward in softmax_errors(embeddings, codes):
        squares[rows] += forward.square().sum(1)
        squares += backward.square().sum(0)
    return squares.sqrt()


@selectors.register("el2n")
class El2n(RowSelector):
    """Rows with the largest error norm early in training (EL2N)."""

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
        return el2n(train, start, size, generator, trajectory)
