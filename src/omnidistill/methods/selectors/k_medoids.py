"""k-medoids, approximated by k-means on the joint embeddings, followed by choosing the row nearest to each mean.

MDM (arXiv 2605.23482) and AMD (Qi et al., ICLR 2026) initialise their sets in this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.methods.selectors.embeddings import joint_embeddings, squared_distances
from omnidistill.methods.selectors.k_means import cluster_means, k_means
from omnidistill.methods.selectors.selector import RowSelector, check_size, selectors
from omnidistill.methods.selectors.turns import GroupTurns
from omnidistill.models.heads import Heads


def k_medoids(
    train: FeatureSet,
    start: Heads,
    size: int,
    generator: torch.Generator,
    trajectory: Sequence[Heads] | None = None,
) -> Int[Tensor, " N"]:
    """Divide the rows into `size` clusters, and select the row nearest to the mean of each cluster.

    The rows are in order of decreasing cluster size, and spread evenly over the groups (see `nearest_members`).
    """
    check_size(size, len(train))
    points = joint_embeddings(train, start)
    labels = k_means(points, size, generator)
    return nearest_members(points, labels, size, train.group_codes)


def nearest_members(
    points: Float[Tensor, "n D"], labels: Int[Tensor, " n"], num_clusters: int, codes: Int[Tensor, " n"]
) -> Int[Tensor, " k"]:
    """Return one row per cluster, the one nearest to the mean of the cluster, in order of decreasing cluster size.

    The rows are spread evenly over the groups: each row must come from a group with the fewest selected rows so far. If
    a cluster has no such row left, the nearest such row of another cluster is taken. No cluster may be empty.
    """
    means = cluster_means(points, labels, num_clusters)
    turns, chosen = GroupTurns(codes), []
    for cluster in labels.bincount(minlength=num_clusters).argsort(descending=True, stable=True).tolist():
        distances = squared_distances(points, means[cluster : cluster + 1])[:, 0]
        allowed = turns.open
        members = allowed & (labels == cluster)
        row = int(distances.masked_fill(~(members if members.any() else allowed), torch.inf).argmin())
        chosen.append(row)
        turns.take(row)
    return torch.tensor(chosen, device="cpu")


@selectors.register("k-medoids")
class KMedoids(RowSelector):
    """Rows nearest to the centres of clusters (k-medoids)."""

    cites: ClassVar[tuple[str, ...]] = ("mdm",)

    def rows(
        self,
        train: FeatureSet,
        start: Heads,
        size: int,
        generator: torch.Generator,
        trajectory: Sequence[Heads] | None = None,
    ) -> Int[Tensor, " N"]:
        """Return the indices of the selected rows."""
        return k_medoids(train, start, size, generator, trajectory)
