"""How sure a score is: percentile bootstrap over queries and runs, for gains retained and for differences.

The unit that is drawn with replacement is a *group* of queries (its rows stay together), and every draw is the same
for all methods compared: the bootstrap is paired over queries. The runs (seeds) of each method are drawn with
replacement too, each method for itself. An interval is made of order statistics of the resampled values.

Shapes: N queries, K cut-offs, R runs, C groups, B resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.errors import InputError, NotFiniteError

_DRAWS_AT_ONCE = 2**22  # group draws held in memory together


@dataclass(frozen=True)
class Interval:
    """A value measured on all queries and runs (`mean`) and the ends of its bootstrap interval."""

    mean: float
    low: float
    high: float


def gain_retained(
    zero: Float[Tensor, "N K"],
    full: Float[Tensor, "R_f N K"],
    method: Float[Tensor, "R N K"],
    groups: Int[Tensor, " N"],
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Interval | None]:
    """Share of the gain of the full data that a method keeps, (method - zero) / (full - zero), for each cut-off.

    The arguments are hits per query (`evaluation.retrieval.hits`): `zero` before training, `full` trained on all data,
    `method` trained on what it made. 1 keeps all, 0 nothing, below 0 does harm. None stands for n/a: the interval of
    full - zero reaches down to 0, so the full data gains nothing beyond noise and no share of it can be told.

    Raises `InputError` for shapes that do not agree or idle settings, `NotFiniteError` for NaN or Inf.
    """
    named = {"zero": zero[None], "full": full, "method": method}
    point = {name: hits.double().mean((0, 1)) for name, hits in named.items()}
    means = _resampled_means(named, groups, resamples, level, seed)

    whole, part = means["full"] - means["zero"], means["method"] - means["zero"]
    # The limits at whole -> 0. At most as many resamples as lie below the interval of `whole` are affected, so where
    # that interval is above 0 the ends of the ratio's interval are finite.
    ratio = torch.where(whole > 0, part / whole, torch.copysign(torch.full_like(part, torch.inf), part))
    gain = point["full"] - point["zero"]
    share = (point["method"] - point["zero"]) / gain
    whole_low, _ = _ends(whole, level)
    told = (whole_low > 0) & (gain > 0)
    return [
        interval if ok else None for ok, interval in zip(told.tolist(), _intervals(share, ratio, level), strict=True)
    ]


def paired_difference(
    a: Float[Tensor, "R_a N K"],
    b: Float[Tensor, "R_b N K"],
    groups: Int[Tensor, " N"],
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Interval]:
    """Mean hits of `a` less mean hits of `b` for each cut-off, on the same queries; in [-1, 1].

    Raises `InputError` for shapes that do not agree or idle settings, `NotFiniteError` for NaN or Inf.
    """
    means = _resampled_means({"a": a, "b": b}, groups, resamples, level, seed)
    return _intervals(a.double().mean((0, 1)) - b.double().mean((0, 1)), means["a"] - means["b"], level)


def mean_std(values: Float[Tensor, " R"]) -> tuple[float, float]:
    """Mean over runs and their sample standard deviation (0 for a single run). Raises `InputError` for no run."""
    if len(values) == 0:
        raise InputError("mean and standard deviation of no runs: give at least one")
    values = values.double()
    return float(values.mean()), float(values.std()) if len(values) > 1 else 0.0


def _resampled_means(
    named: dict[str, Float[Tensor, "_ _ _"]], groups: Int[Tensor, " N"], resamples: int, level: float, seed: int
) -> dict[str, Float[Tensor, "B K"]]:
    """Mean over the drawn queries and the drawn runs, for each named method in each resample."""
    _check(named, groups, resamples, level)
    labels, code = torch.unique(groups.cpu(), return_inverse=True)
    sizes = torch.bincount(code, minlength=len(labels)).double()
    # Runs have a generator of their own, so that the queries drawn depend on nothing but groups, resamples and seed.
    generator, generator_of_runs = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1)
    drawn_runs = {
        name: _multiplicities(len(hits), resamples, generator_of_runs) / len(hits) for name, hits in named.items()
    }
    totals = {name: _group_totals(hits.cpu().double(), code, len(labels)) for name, hits in named.items()}

    means: dict[str, list[Tensor]] = {name: [] for name in named}
    block = max(1, _DRAWS_AT_ONCE // len(labels))
    for first in range(0, resamples, block):
        stop = min(first + block, resamples)
        drawn = _multiplicities(len(labels), stop - first, generator)
        queries = drawn @ sizes
        for name, total in totals.items():
            per_run = (drawn @ total.flatten(1)).view(-1, *total.shape[1:])
            means[name].append(torch.einsum("brk,br->bk", per_run, drawn_runs[name][first:stop]) / queries[:, None])
    return {name: torch.cat(blocks) for name, blocks in means.items()}


def _multiplicities(items: int, resamples: int, generator: torch.Generator) -> Float[Tensor, "B _"]:
    """How often each item is drawn when as many as there are get drawn with replacement, for each resample."""
    drawn = torch.randint(items, (resamples, items), generator=generator)
    slots = drawn.add_(items * torch.arange(resamples)[:, None]).flatten()
    return torch.bincount(slots, minlength=resamples * items).view(resamples, items).double()


def _group_totals(hits: Float[Tensor, "R N K"], code: Int[Tensor, " N"], num_groups: int) -> Float[Tensor, "C R K"]:
    by_query = hits.transpose(0, 1)
    return by_query.new_zeros(num_groups, *by_query.shape[1:]).index_add_(0, code, by_query)


def _ends(values: Float[Tensor, "B K"], level: float) -> tuple[Float[Tensor, " K"], Float[Tensor, " K"]]:
    """The order statistics that leave at most (1 - level) / 2 of the values outside on each side."""
    ordered = values.sort(0).values
    outside = math.floor((len(values) - 1) * (1 - level) / 2)
    return ordered[outside], ordered[len(values) - 1 - outside]


def _intervals(point: Float[Tensor, " K"], values: Float[Tensor, "B K"], level: float) -> list[Interval]:
    low, high = _ends(values, level)
    return [Interval(*ends) for ends in zip(point.tolist(), low.tolist(), high.tolist(), strict=True)]


def _check(named: dict[str, Tensor], groups: Tensor, resamples: int, level: float) -> None:
    cut_offs = next(iter(named.values())).shape[-1]
    for name, hits in named.items():
        if len(hits) == 0 or hits.shape[1:] != (len(groups), cut_offs):
            raise InputError(
                f"hits of {name!r} have shape {tuple(hits.shape)}, expected (runs >= 1, {len(groups)}, {cut_offs}): "
                "every method is scored on the same queries and cut-offs"
            )
        if not torch.isfinite(hits).all():
            raise NotFiniteError(f"hits of {name!r} hold NaN or Inf: no interval can be told")
    if len(groups) == 0:
        raise InputError("no queries to resample: give at least one")
    if resamples < 1 or not 0 < level < 1:
        raise InputError(f"resamples={resamples}, level={level}: resamples must be at least 1 and level within (0, 1)")
