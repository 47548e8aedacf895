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

from omnidistill.core.errors import InputError, nearest
from omnidistill.data.featureset import FeatureSet
from omnidistill.methods.selectors.agreement import agreement, aligned
from omnidistill.methods.selectors.craig import craig
from omnidistill.methods.selectors.el2n import el2n
from omnidistill.methods.selectors.facility_location import facility_location
from omnidistill.methods.selectors.forgetting import forgetting
from omnidistill.methods.selectors.grand import grand
from omnidistill.methods.selectors.herding import herding
from omnidistill.methods.selectors.k_center import k_center
from omnidistill.methods.selectors.k_medoids import k_medoids
from omnidistill.methods.selectors.prototypes import group_means, prototypes
from omnidistill.methods.selectors.random_rows import random_rows
from omnidistill.methods.selectors.selector import Selector
from omnidistill.models.heads import Heads

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
