"""Prototypes: averages of features. All modalities are averaged over the same rows, so prototypes are paired.

The norm of an average is smaller than that of the rows. This does not matter, because students normalise their outputs.
All modalities are clustered jointly. In contrast, PDS (arXiv 2602.19756) clusters each modality separately and then
matches the clusters, so some matched clusters have no members in common.
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
from omnidistill.methods.selectors.selector import Selection, Selector, check_size, selectors
from omnidistill.models.heads import Heads


def prototypes(
    train: FeatureSet, start: Heads, size: int, generator: torch.Generator
) -> dict[str, Float[Tensor, "_ _"]]:
    """Return the mean features {modality: size x feature width} of k-means clusters in the space of joint embeddings.

    Raises:
        InputError: the size is below 1 or above the number of rows, or the heads do not fit the features.
    """
    check_size(size, len(train))
    labels = k_means(joint_embeddings(train, start), size, generator)
    return {name: cluster_means(x, labels, size) for name, x in train.features.items()}


def group_means(train: FeatureSet, size: int, generator: torch.Generator) -> dict[str, Float[Tensor, "_ _"]]:
    """Return the mean features {modality: size x feature width} of distinct random groups.

    Raises:
        InputError: the size is below 1 or above the number of groups.
    """
    num_groups = int(train.group_codes.max()) + 1
    check_size(size, num_groups, "groups")
    drawn = torch.randperm(num_groups, generator=generator, device="cpu")[:size].to(train.device)
    return {name: cluster_means(x, train.group_codes, num_groups)[drawn] for name, x in train.features.items()}


@selectors.register("prototypes")
class Prototypes(Selector):
    """Averages of the rows in each cluster that k-means finds in the joint embeddings of all modalities."""

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
        return Selection(prototypes(train, start, size, generator), torch.arange(size, device="cpu"))


@selectors.register("group-means")
class GroupMeans(Selector):
    """Averages of the rows in each of a few random groups."""

    def choose(
        self,
        train: FeatureSet,
        start: Heads,
        size: int,
        generator: torch.Generator,
        trajectory: Sequence[Heads] | None = None,
    ) -> Selection:
        """Return one averaged row for each of `size` random groups of training items."""
        return Selection(group_means(train, size, generator), torch.arange(size, device="cpu"))

    def most_rows(self, train: FeatureSet) -> int:
        """Return the number of training groups, because each averaged row is the mean of one group."""
        return len(set(train.groups))
