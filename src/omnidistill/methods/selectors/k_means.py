"""k-means without empty clusters: greedy k-means++ (Arthur & Vassilvitskii 2007), then Lloyd's iterations.

Shapes: n points of width D, k clusters.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.methods.selectors.embeddings import row_chunks, squared_distances

_ITERATIONS = 100


def k_means(points: Float[Tensor, "n D"], num_clusters: int, generator: torch.Generator) -> Int[Tensor, " n"]:
    """Return the number of each point's cluster, from 0 to `num_clusters` - 1. No cluster is empty.

    `num_clusters` must be at least 1 and at most the number of points.
    """
    centres = points[_seeds(points, num_clusters, generator)]
    labels = torch.full((len(points),), -1, device=points.device)
    for _ in range(_ITERATIONS):
        new_labels = _fill_empty(*_nearest(points, centres), num_clusters)
        if torch.equal(new_labels, labels):
            break
        labels = new_labels
        centres = cluster_means(points, labels, num_clusters)
    return labels


def cluster_means(points: Float[Tensor, "n p"], labels: Int[Tensor, " n"], num_clusters: int) -> Float[Tensor, "k p"]:
    """Return the mean point of every cluster; no cluster may be empty."""
    sums = torch.zeros(num_clusters, points.shape[1], dtype=points.dtype, device=points.device)
    return sums.index_add_(0, labels, points) / labels.bincount(minlength=num_clusters).unsqueeze(1)


def _seeds(points: Tensor, num_clusters: int, generator: torch.Generator) -> Int[Tensor, " k"]:
    """Select distinct points as seeds.

    For each new seed, draw a few candidates. A point is drawn with a probability proportional to its squared distance
    to the nearest previous seed. Keep the candidate that minimises the sum, over all points, of the squared distance to
    the nearest seed.
    """
    seeds = torch.randint(len(points), (1,), generator=generator, device="cpu").tolist()
    distances = squared_distances(points, points[seeds])[:, 0]
    free = torch.ones(len(points), device="cpu")
    for _ in range(num_clusters - 1):
        free[seeds[-1]] = 0
        odds = distances.cpu() * free
        drawn = torch.multinomial(
            odds if odds.any() else free, 2 + int(math.log(num_clusters)), replacement=True, generator=generator
        )
        after = torch.minimum(distances.unsqueeze(1), squared_distances(points, points[drawn.to(points.device)]))
        best = int(after.sum(0).argmin())
        seeds.append(int(drawn[best]))
        distances = after[:, best]
    return torch.tensor(seeds, device=points.device)


def _nearest(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest centre of every point and the squared distance to it."""
    blocks = (squared_distances(points[rows], centres).min(1) for rows in row_chunks(len(points), len(centres)))
    distances, labels = zip(*blocks, strict=True)
    return torch.cat(labels), torch.cat(distances)


def _fill_empty(labels: Tensor, distances: Tensor, num_clusters: int) -> Tensor:
    """Move one point into each empty cluster: the point that is farthest from its centre.

    A point that is alone in its cluster is never moved.
    """
    counts = labels.bincount(minlength=num_clusters)
    for empty in (counts == 0).nonzero()[:, 0].tolist():
        point = int(distances.masked_fill(counts[labels] < 2, -1).argmax())
        counts[labels[point]] -= 1
        labels[point], counts[empty], distances[point] = empty, 1, 0
    return labels
