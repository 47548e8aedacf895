"""Agreement: rows whose embeddings are most similar across modalities, as in the CLIP score.

Let z_im be the unit embedding of row i in modality m, and M the number of modalities. The agreement of row i is

    a_i = mean over pairs (m, k) of <z_im, z_ik> = ( ||sum_m z_im||^2 - sum_m ||z_im||^2 ) / ( M (M - 1) )

The rows with the highest agreement are easy and similar to each other, so they form a poor set. The score is useful for
excluding the worst rows before another selector is applied (the filter of PDS, arXiv 2602.19756).
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
from omnidistill.methods.selectors.turns import first_by_turns
from omnidistill.models.heads import Heads


def agreement(
    train: FeatureSet,
    start: Heads,
    size: int,
    generator: torch.Generator,
    trajectory: Sequence[Heads] | None = None,
) -> Int[Tensor, " N"]:
    """Select the rows with the highest agreement between modalities, spread evenly over the groups."""
    check_size(size, len(train))
    ranking = agreement_scores(train, start).argsort(descending=True, stable=True)
    return first_by_turns(ranking, train.group_codes, size)


def agreement_scores(train: FeatureSet, heads: Heads) -> Float[Tensor, " n"]:
    """Return for every row the mean cosine over all pairs of modalities, in [-1, 1]."""
    embeddings = unit_embeddings(train, heads)
    num_modalities = embeddings.shape[1]
    together, alone = embeddings.sum(1).square().sum(-1), embeddings.square().sum((1, 2))
    return (together - alone) / (num_modalities * (num_modalities - 1))


@selectors.register("agreement")
class Agreement(RowSelector):
    """Rows whose modalities agree most."""

    cites: ClassVar[tuple[str, ...]] = ("clipscore",)

    def rows(
        self,
        train: FeatureSet,
        start: Heads,
        size: int,
        generator: torch.Generator,
        trajectory: Sequence[Heads] | None = None,
    ) -> Int[Tensor, " N"]:
        """Return the indices of the selected rows."""
        return agreement(train, start, size, generator, trajectory)
