"""Prototypes: averages of prepared features, one average per modality of the same rows, so they are always paired.

A student normalises its outputs, so a row is a direction, and that averages are shorter than rows changes nothing.
Clustering all modalities at once replaces the matching of one clustering per modality (PDS, arXiv 2602.19756), which
leaves pairs without a common member.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.methods.selectors.embeddings import joint_embeddings
from omnidistill.methods.selectors.k_means import cluster_means, k_means
from omnidistill.methods.selectors.selector import CHUNK_BYTES, Selection, Selector, check_size, selectors
from omnidistill.models.heads import Heads


def prototypes(
    train: FeatureSet, start: Heads, size: int, generator: torch.Generator, *, chunk_bytes: int = CHUNK_BYTES
) -> dict[str, Float[Tensor, "_ _"]]:
    """{modality: size x p_m}: mean features of the clusters that k-means finds in the joint embeddings.

    Raises InputError for a size outside 1..len(train) or heads that do not fit the features.
    """
    check_size(size, len(train))
    labels = k_means(joint_embeddings(train, start), size, generator, chunk_bytes)
    return {name: cluster_means(x, labels.to(x.device), size) for name, x in train.features.items()}


def group_means(train: FeatureSet, size: int, generator: torch.Generator) -> dict[str, Float[Tensor, "_ _"]]:
    """{modality: size x p_m}: mean features of random groups, each at most once.

    Raises InputError for a size outside 1..number of groups.
    """
    num_groups = int(train.group_codes.max()) + 1
    check_size(size, num_groups, "groups")
    drawn = torch.randperm(num_groups, generator=generator)[:size]
    return {
        name: cluster_means(x, train.group_codes.to(x.device), num_groups)[drawn.to(x.device)]
        for name, x in train.features.items()
    }


@selectors.register("prototypes")
class Prototypes(Selector):
    """Means of the clusters of joint embeddings (k-means)."""

    cites: ClassVar[tuple[str, ...]] = ("pds",)

    def choose(
        self,
        train: FeatureSet,
        start: Heads,
        size: int,
        generator: torch.Generator,
        trajectory: Sequence[Heads] | None = None,
    ) -> Selection:
        """Return one averaged row per cluster."""
        return Selection(prototypes(train, start, size, generator), torch.arange(size))


@selectors.register("group-means")
class GroupMeans(Selector):
    """Means of random groups."""

    def choose(
        self,
        train: FeatureSet,
        start: Heads,
        size: int,
        generator: torch.Generator,
        trajectory: Sequence[Heads] | None = None,
    ) -> Selection:
        """Return one averaged row per group."""
        return Selection(group_means(train, size, generator), torch.arange(size))

    def most_rows(self, train: FeatureSet) -> int:
        """Return the number of training groups."""
        return len(set(train.groups))
