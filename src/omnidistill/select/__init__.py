"""Coresets and prototypes: which N rows of the training set to keep, or which N averages, with no optimisation of rows.

One choice of rows serves every modality. Selectors compare rows by their joint embedding at the starting heads,

    J_i = concat_m z_im / sqrt(M),        k(i, j) = <J_i, J_j> = mean_m <z_im, z_jm>,        z = W x / ||W x||,

and all keep one rule on groups (rows of one group are positives of each other): no group gets another row while some
other group that has rows left has got fewer, so up to as many rows as there are groups are of distinct groups.

Memory grows with n, not with n^2: blocks of rows are compared, within `chunk_bytes`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from omnidistill.errors import InputError, nearest
from omnidistill.features.featureset import FeatureSet
from omnidistill.heads import Heads
from omnidistill.select.agreement import agreement, aligned
from omnidistill.select.craig import craig
from omnidistill.select.el2n import el2n
from omnidistill.select.facility_location import facility_location
from omnidistill.select.forgetting import forgetting
from omnidistill.select.grand import grand
from omnidistill.select.herding import herding
from omnidistill.select.k_center import k_center
from omnidistill.select.k_medoids import k_medoids
from omnidistill.select.prototypes import group_means, prototypes
from omnidistill.select.random_rows import random_rows
from omnidistill.select.selector import Selector

__all__ = ["SELECTORS", "USES_TRAJECTORY", "Selector", "aligned", "group_means", "prototypes", "select_rows"]

SELECTORS: dict[str, Selector] = {
    "random": random_rows,
    "herding": herding,
    "k-center": k_center,
    "k-medoids": k_medoids,
    "facility-location": facility_location,
    "agreement": agreement,
    "aligned-k-medoids": aligned(k_medoids),
    "el2n": el2n,
    "grand": grand,
    "forgetting": forgetting,
    "craig": craig,
}
"""Every selector by the name that configurations and tables use."""

USES_TRAJECTORY = frozenset({"forgetting"})
"""Selectors that need the heads of a training, epoch by epoch."""


def select_rows(
    name: str,
    train: FeatureSet,
    start: Heads,
    size: int,
    generator: torch.Generator,
    trajectory: Sequence[Heads] | None = None,
) -> Int[Tensor, " N"]:
    """`size` distinct rows of `train` by the selector of this name; `train.select(rows)` is the coreset.

    Raises InputError for an unknown name and for what the selector refuses.
    """
    if name not in SELECTORS:
        raise InputError(f"selector {name!r}: unknown; known are {', '.join(SELECTORS)}{nearest(name, SELECTORS)}")
    return SELECTORS[name](train, start, size, generator, trajectory)
