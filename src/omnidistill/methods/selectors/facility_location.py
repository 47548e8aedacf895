"""Facility location: select rows such that every row is similar to a selected row.

Let k(i, j) in [-1, 1] be the cosine similarity of rows i and j, averaged over modalities. The set S of selected rows
is extended greedily, row by row, to maximise the following sum over all rows i:

    sum_i max_{j in S} (k(i, j) + 1)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.methods.selectors.cover import greedy_cover
from omnidistill.methods.selectors.embeddings import joint_embeddings
from omnidistill.methods.selectors.selector import RowSelector, check_size, selectors
from omnidistill.models.heads import Heads


def facility_location(
    train: FeatureSet,
    start: Heads,
    size: int,
    generator: torch.Generator,
    trajectory: Sequence[Heads] | None = None,
) -> Int[Tensor, " N"]:
    """Select rows by greedy facility location, spread evenly over the groups. The result is not random."""
    check_size(size, len(train))
    points = joint_embeddings(train, start)
    return greedy_cover(lambda rows: points[rows] @ points.mT, -1.0, train.group_codes, size)


@selectors.register("facility-location")
class FacilityLocation(RowSelector):
    """Rows selected such that every row is similar to a selected row (greedy facility location)."""

    cites: ClassVar[tuple[str, ...]] = ("facility-location",)

    def rows(
        self,
        train: FeatureSet,
        start: Heads,
        size: int,
        generator: torch.Generator,
        trajectory: Sequence[Heads] | None = None,
    ) -> Int[Tensor, " N"]:
        """Return the indices of the selected rows."""
        return facility_location(train, start, size, generator, trajectory)
