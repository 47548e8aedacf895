"""k-medoids among the rows whose modalities agree most. PDS (arXiv 2602.19756) filters rows in this way.

First, the rows whose modalities agree least are excluded. The setting `dropped` is their fraction: 0.2 excludes 20 % of
all rows. Fewer rows are excluded if otherwise fewer than `size` rows would remain.

Then k-medoids selects `size` of the remaining rows, spread evenly over the groups. If the remaining rows belong to at
least `size` groups, all selected rows are from different groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.methods.selectors.agreement import agreement_scores
from omnidistill.methods.selectors.k_medoids import k_medoids
from omnidistill.methods.selectors.selector import RowSelector, check_size, selectors
from omnidistill.models.heads import Heads


@selectors.register("aligned-k-medoids")
class AlignedKMedoids(RowSelector):
    """k-medoids among the rows whose modalities agree most."""

    cites: ClassVar[tuple[str, ...]] = ("pds",)

    dropped: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Fraction of the real rows to exclude before selection: those whose modalities agree least."""

    def rows(
        self,
        train: FeatureSet,
        start: Heads,
        size: int,
        generator: torch.Generator,
        trajectory: Sequence[Heads] | None = None,
    ) -> Int[Tensor, " N"]:
        """Return the indices of the selected rows."""
        check_size(size, len(train))
        ranking = agreement_scores(train, start).argsort(descending=True, stable=True).cpu()
        remaining = ranking[: max(size, len(train) - int(self.dropped * len(train)))].sort().values
        return remaining[k_medoids(train.select(remaining), start, size, generator, trajectory)]
