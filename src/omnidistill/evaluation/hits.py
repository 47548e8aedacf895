"""Hits: for each query, the probability that a positive is among the first K items.

A hit is 1 or 0 unless items are tied: tied items are treated as randomly ordered. The mean of the hits is recall at K.

The hits of a method are measured on one or more units. Its units are either independent training runs, or synthetic
sets that were distilled with different seeds. The hits of a set are averaged over its students.

Shapes: Q queries of a direction, K cut-offs (the K of recall at K), U units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from omnidistill.core.errors import InputError, NotFiniteError

Hits = Sequence[Float[Tensor, "_ _ _"]]
"""Hits of U units in [0, 1], one tensor U x Q x K per direction."""
Groups = Sequence[Int[Tensor, " _"]]
"""The group of each query, one tensor per direction."""


def mean_hits(hits: Hits) -> Float64[Tensor, " K"]:
    """Return the mean hits at each cut-off: the mean over queries and units (sets or runs), then over directions."""
    return torch.stack([each.double().mean((0, 1)) for each in hits]).mean(0).cpu()


def mean_unit(runs: Hits) -> Hits:
    """Return hits averaged over runs, such as the students of one set. The result has the shape of a single run."""
    return [each.mean(0, keepdim=True) for each in runs]


def check_hits(named: Mapping[str, Hits], groups: Groups) -> None:
    """Check that the hits of every method are finite and cover the same directions and queries as the groups.

    Raises:
        InputError: shapes do not match, or there are no directions or queries.
        NotFiniteError: hits contain NaN or Inf.
    """
    cut_offs = next(iter(named.values()))[0].shape[-1]
    for name, hits in named.items():
        if len(hits) != len(groups):
            raise InputError(
                f"the hits of {name!r} cover {len(hits)} retrieval directions, but the groups cover {len(groups)}; "
                "pass one tensor of hits and one tensor of groups per direction"
            )
        for each, of_direction in zip(hits, groups, strict=True):
            if len(each) == 0 or len(each) != len(hits[0]) or each.shape[1:] != (len(of_direction), cut_offs):
                raise InputError(
                    f"hits of {name!r} have shape {tuple(each.shape)}, expected (runs, {len(of_direction)} queries, "
                    f"{cut_offs} cut-offs); pass at least one run, and the same runs for every direction"
                )
            if not torch.isfinite(each).all():
                raise NotFiniteError(f"hits of {name!r} contain NaN or Inf, so no interval can be computed")
    if not groups or any(len(each) == 0 for each in groups):
        raise InputError(
            "confidence interval: pass at least one retrieval direction, and at least one query per direction"
        )
