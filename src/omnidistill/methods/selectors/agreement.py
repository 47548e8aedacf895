"""Agreement across modalities, the M-modal form of the CLIP score: how well the embeddings of one row fit each other.

    a_i = mean over pairs (m, n) of <z_im, z_in> = ( ||sum_m z_im||^2 - sum_m ||z_im||^2 ) / ( M (M - 1) )

The best-agreeing rows alone are easy and alike, a poor set; leaving out the worst before another selector is what the
score is good for (the filter of PDS, arXiv 2602.19756).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.methods.selectors.embeddings import unit_embeddings
from omnidistill.methods.selectors.selector import Selector, check_size
from omnidistill.methods.selectors.turns import first_by_turns
from omnidistill.models.heads import Heads


def agreement(
    train: FeatureSet,
    start: Heads,
    size: int,
    generator: torch.Generator,
    trajectory: Sequence[Heads] | None = None,
) -> Int[Tensor, " N"]:
    """The rows of the highest agreement; groups take turns. Draws nothing."""
    check_size(size, len(train))
    ranking = agreement_scores(train, start).argsort(descending=True, stable=True)
    return first_by_turns(ranking, train.group_codes.to(ranking.device), size)


def aligned(selector: Selector, dropped: float = 0.2) -> Selector:
    """A selector that leaves out the share `dropped` (in [0, 1)) of rows that agree least, but never so many that
    fewer than `size` remain, and chooses among the others by `selector`.

    Groups take turns among the rows that remain, so rows of one group repeat only if too few groups remain.
    """

    def select(
        train: FeatureSet,
        start: Heads,
        size: int,
        generator: torch.Generator,
        trajectory: Sequence[Heads] | None = None,
    ) -> Int[Tensor, " N"]:
        check_size(size, len(train))
        ranking = agreement_scores(train, start).argsort(descending=True, stable=True).cpu()
        kept = ranking[: max(size, len(train) - int(dropped * len(train)))].sort().values
        return kept[selector(train.select(kept), start, size, generator, trajectory)]

    return select


def agreement_scores(train: FeatureSet, heads: Heads) -> Float[Tensor, " n"]:
    """Mean cosine over the pairs of modalities of every row, in [-1, 1]."""
    embeddings = unit_embeddings(train, heads)
    num_modalities = embeddings.shape[1]
    together, alone = embeddings.sum(1).square().sum(-1), embeddings.square().sum((1, 2))
    return (together - alone) / (num_modalities * (num_modalities - 1))
