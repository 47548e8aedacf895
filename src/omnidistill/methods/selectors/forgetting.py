"""Forgetting (Toneva et al. 2019): rows that most often change from correct to wrong during training.

A row is correct in a direction (from modality m to n) if a row from its own group is more similar to it than all rows
from other groups. A row is correct overall if it is correct in more than half of the M (M - 1) directions between M
modalities (at least 4 of 6 for M = 3). A row that is never correct is never forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import ClassVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.methods.selectors.embeddings import row_chunks, unit_embeddings
from omnidistill.methods.selectors.selector import RowSelector, check_size, selectors
from omnidistill.methods.selectors.turns import first_by_turns
from omnidistill.models.heads import Heads


def forgetting(
    train: FeatureSet,
    start: Heads,
    size: int,
    generator: torch.Generator,
    trajectory: Sequence[Heads] | None = None,
) -> Int[Tensor, " N"]:
    """Select the rows that most often change from correct to wrong during training, spread evenly over the groups.

    Ties are broken at random.
    """
    check_size(size, len(train))
    num_snapshots = len(trajectory or ())
    if trajectory is None or num_snapshots < 2:
        raise InputError(
            "selector 'forgetting' compares the heads after different training epochs, so it needs at least 2 "
            f"snapshots, but got {num_snapshots}; train expert trajectories first, or choose another selector"
        )
    counts = forgetting_counts(train, trajectory)
    order = torch.randperm(len(train), generator=generator, device="cpu").to(counts.device)
    ranking = order[counts[order].argsort(descending=True, stable=True)]
    return first_by_turns(ranking, train.group_codes, size)


def forgetting_counts(train: FeatureSet, trajectory: Sequence[Heads]) -> Int[Tensor, " n"]:
    """Return how often each row changes from correct to wrong between consecutive heads of a trajectory."""
    before = _correct(train, trajectory[0])
    counts = torch.zeros_like(before, dtype=torch.int64)
    for heads in trajectory[1:]:
        after = _correct(train, heads)
        counts += before & ~after
        before = after
    return counts


def _correct(train: FeatureSet, heads: Heads) -> Bool[Tensor, " n"]:
    embeddings = unit_embeddings(train, heads)
    num_rows, num_modalities, _ = embeddings.shape
    codes = train.group_codes
    hits = torch.zeros_like(codes)
    for m, n in combinations(range(num_modalities), 2):
        own, other = embeddings.new_full((2, num_rows), -torch.inf)  # best scores for queries from n
        for rows in row_chunks(num_rows, num_rows):
            scores = embeddings[rows, m] @ embeddings[:, n].mT
            same = codes[rows].unsqueeze(1) == codes
            within, across = scores.masked_fill(~same, -torch.inf), scores.masked_fill(same, -torch.inf)
            hits[rows] += within.amax(1) > across.amax(1)
            own, other = torch.maximum(own, within.amax(0)), torch.maximum(other, across.amax(0))
        hits += own > other
    return 2 * hits > num_modalities * (num_modalities - 1)


@selectors.register("forgetting")
class Forgetting(RowSelector):
    """Rows that most often change from correct to wrong during training (forgetting)."""

    cites: ClassVar[tuple[str, ...]] = ("forgetting",)
    uses_trajectory: ClassVar[bool] = True

    def rows(
        self,
        train: FeatureSet,
        start: Heads,
        size: int,
        generator: torch.Generator,
        trajectory: Sequence[Heads] | None = None,
    ) -> Int[Tensor, " N"]:
        """Return the indices of the selected rows."""
        return forgetting(train, start, size, generator, trajectory)
