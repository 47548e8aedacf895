"""Confidence intervals for gain retained and for recall differences, by percentile bootstrap over queries and runs.

*Groups* of queries are resampled with replacement; a resampled group contributes all of its queries in every retrieval
direction. All compared methods use the same resampled groups, so the bootstrap is paired over queries. The runs (seeds)
are also resampled, independently for each method. The endpoints of an interval are order statistics of the resampled
values.

Shapes: Q queries per direction, D directions, K cut-offs, R runs, C groups, B resamples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from omnidistill.core.errors import InputError, NotFiniteError
from omnidistill.core.streams import Streams

_DRAWS_AT_ONCE = 2**22  # largest number of group draws in memory

Hits = Sequence[Float[Tensor, "_ _ _"]]
"""Hits of R runs, with values in [0, 1]: one R x Q x K tensor per direction."""
Groups = Sequence[Int[Tensor, " _"]]
"""The group of each query, one tensor per direction."""


@dataclass(frozen=True)
class Interval:
    """A value measured on all queries and runs (`mean`), and the ends of its bootstrap interval (`low`, `high`)."""

    mean: float
    low: float
    high: float


def gain_retained(
    zero: Hits,
    full: Hits,
    method: Hits,
    groups: Groups,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Interval | None]:
    """Return the gain retained, (method - zero) / (full - zero), for each cut-off.

    This is the share of the gain from training on all rows that the method retains: 1 is the complete gain, 0 is no
    gain, and a negative value is worse than no training. It is None if the interval of full - zero includes 0: the gain
    from training on all rows is then not above noise, and a share of it is meaningless.

    Args:
        zero: hits before training, from a single run.
        full: hits of runs trained on all rows.
        method: hits of runs trained by the method.
        groups: group of each query.
        resamples: number of bootstrap resamples B.
        level: confidence level, in (0, 1).
        seed: seed of the resampling.

    Raises:
        InputError: shapes do not match, or a setting is out of range.
        NotFiniteError: hits contain NaN or Inf.
    """
    named = {"zero": zero, "full": full, "method": method}
    point = {name: mean_hits(hits) for name, hits in named.items()}
    means = _resampled_means(named, groups, resamples, level, seed)

    whole, part = means["full"] - means["zero"], means["method"] - means["zero"]
    # Where whole <= 0, use the limit of the ratio as whole -> 0+. If the interval of `whole` lies above 0, this
    # affects only resamples below that interval, so the endpoints of the ratio's interval are finite.
    ratio = torch.where(whole > 0, part / whole, torch.copysign(torch.full_like(part, torch.inf), part))
    gain = point["full"] - point["zero"]
    share = (point["method"] - point["zero"]) / gain
    whole_low, _ = _ends(whole, level)
    defined = (whole_low > 0) & (gain > 0)
    return [
        interval if ok else None for ok, interval in zip(defined.tolist(), _intervals(share, ratio, level), strict=True)
    ]


def paired_difference(
    a: Hits,
    b: Hits,
    groups: Groups,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Interval]:
    """Return mean hits of `a` minus mean hits of `b` on the same queries, for each cut-off; in [-1, 1].

    Args:
        a: hits of one method.
        b: hits of the other method; its number of runs may differ.
        groups: group of each query.
        resamples: number of bootstrap resamples B.
        level: confidence level, in (0, 1).
        seed: seed of the resampling.

    Raises:
        InputError: shapes do not match, or a setting is out of range.
        NotFiniteError: hits contain NaN or Inf.
    """
    means = _resampled_means({"a": a, "b": b}, groups, resamples, level, seed)
    return _intervals(mean_hits(a) - mean_hits(b), means["a"] - means["b"], level)


def mean_hits(hits: Hits) -> Float64[Tensor, " K"]:
    """Return the mean over queries and runs, then over directions: mean recall at each cut-off."""
    return torch.stack([each.double().mean((0, 1)) for each in hits]).mean(0).cpu()


def mean_std(values: Float[Tensor, " R"]) -> tuple[float, float]:
    """Return mean and sample standard deviation (0 for one run) over runs; raise InputError if there are no runs."""
    if len(values) == 0:
        raise InputError("cannot compute mean and standard deviation: there are no runs; pass at least one")
    values = values.double()
    return float(values.mean()), float(values.std()) if len(values) > 1 else 0.0


def _resampled_means(
    named: Mapping[str, Hits], groups: Groups, resamples: int, level: float, seed: int
) -> dict[str, Float[Tensor, "B K"]]:
    """Return the mean over resampled queries and runs, then over directions, for each named method and resample."""
    _check(named, groups, resamples, level)
    labels, joined = torch.unique(torch.cat([each.cpu() for each in groups]), return_inverse=True)
    codes = joined.split([len(each) for each in groups])
    sizes = torch.stack([torch.bincount(code, minlength=len(labels)) for code in codes], 1).double()
    # Runs use separate streams, so the resampled queries depend only on groups, resamples and seed.
    streams = Streams(seed)
    generator = streams["intervals/queries"]
    drawn_runs = {
        name: _multiplicities(len(hits[0]), resamples, streams[f"intervals/runs/{name}"]) / len(hits[0])
        for name, hits in named.items()
    }
    totals = {name: _group_totals(hits, codes, len(labels)) for name, hits in named.items()}

    means: dict[str, list[Tensor]] = {name: [] for name in named}
    block = max(1, _DRAWS_AT_ONCE // len(labels))
    for first in range(0, resamples, block):
        stop = min(first + block, resamples)
        drawn = _multiplicities(len(labels), stop - first, generator)
        queries = drawn @ sizes
        for name, total in totals.items():
            per_direction = (drawn @ total.flatten(1)).view(-1, *total.shape[1:]) / queries[..., None, None]
            means[name].append(torch.einsum("brk,br->bk", per_direction.mean(1), drawn_runs[name][first:stop]))
    return {name: torch.cat(blocks) for name, blocks in means.items()}


def _multiplicities(items: int, resamples: int, generator: torch.Generator) -> Float[Tensor, "B _"]:
    """Return how often each item is drawn in each resample; a resample is `items` draws with replacement."""
    drawn = torch.randint(items, (resamples, items), generator=generator, device="cpu")
    slots = drawn.add_(items * torch.arange(resamples, device="cpu")[:, None]).flatten()
    return torch.bincount(slots, minlength=resamples * items).view(resamples, items).double()


def _group_totals(hits: Hits, codes: Sequence[Tensor], num_groups: int) -> Float[Tensor, "C D R K"]:
    totals = []
    for each, code in zip(hits, codes, strict=True):
        by_query = each.cpu().double().transpose(0, 1)
        totals.append(by_query.new_zeros(num_groups, *by_query.shape[1:]).index_add_(0, code, by_query))
    return torch.stack(totals, 1)


def _ends(values: Float[Tensor, "B K"], level: float) -> tuple[Float[Tensor, " K"], Float[Tensor, " K"]]:
    """Return the two order statistics with at most a fraction (1 - level) / 2 of the values beyond each of them."""
    ordered = values.sort(0).values
    outside = math.floor((len(values) - 1) * (1 - level) / 2)
    return ordered[outside], ordered[len(values) - 1 - outside]


def _intervals(point: Float[Tensor, " K"], values: Float[Tensor, "B K"], level: float) -> list[Interval]:
    low, high = _ends(values, level)
    return [Interval(*ends) for ends in zip(point.tolist(), low.tolist(), high.tolist(), strict=True)]


def _check(named: Mapping[str, Hits], groups: Groups, resamples: int, level: float) -> None:
    cut_offs = next(iter(named.values()))[0].shape[-1]
    for name, hits in named.items():
        if len(hits) != len(groups):
            raise InputError(
                f"hits of {name!r} have {len(hits)} directions, groups have {len(groups)}; the numbers must be equal"
            )
        for each, of_direction in zip(hits, groups, strict=True):
            if len(each) == 0 or len(each) != len(hits[0]) or each.shape[1:] != (len(of_direction), cut_offs):
                raise InputError(
                    f"hits of {name!r} have shape {tuple(each.shape)}, expected (runs >= 1, {len(of_direction)}, "
                    f"{cut_offs}); every method must be scored on the same queries and cut-offs"
                )
            if not torch.isfinite(each).all():
                raise NotFiniteError(f"hits of {name!r} contain NaN or Inf, so no interval can be computed")
    if not groups or any(len(each) == 0 for each in groups):
        raise InputError("no queries to resample; pass at least one")
    if resamples < 1 or not 0 < level < 1:
        raise InputError(f"resamples={resamples}, level={level}: resamples must be at least 1 and level in (0, 1)")
