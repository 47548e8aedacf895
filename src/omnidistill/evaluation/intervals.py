"""Confidence intervals for score differences, and for the gain retained of a method, from variance components.

A score is the mean of hits, in [0, 1], over queries. All methods answer the same queries, which belong to G groups. A
method has U units. A unit is either a set (one per seed), with the scores of its students averaged, or an independent
run. Every unit answers the queries of every group, so units and groups are crossed factors. Let y_ug be the part of the
score of unit u that comes from group g. The model is

    y_ug = mean + group_g + unit_u + residual_ug

A contrast is a sum  C = sum_m c_m score_m  over methods m with coefficients c_m. Its variance is

    V = A + sum_m c_m^2 (B_m - R_m)

    A    variance of C due to the groups; it includes covariances between methods, which answer the same queries
    B_m  variance of the score of method m due to its units: the variance between units, divided by U_m
    R_m  variance of the score of method m due to the residuals; it is subtracted because A and B_m both contain it

On balanced data, these are the estimates of a two-way analysis of variance (mean squares of groups, units and
residuals, divided by U G). Let B and R be the sums of c_m^2 B_m and c_m^2 R_m over m. In expectation, R is at most A
and at most B, so V is at least (A + B) / 2. A smaller estimate of V is replaced by this bound. The degrees of freedom
follow Satterthwaite (1946). Intervals use Student's t distribution. A method with one unit has B_m = R_m = 0, so its
interval covers only the variation between queries.

The confidence interval of a ratio of two contrasts, part / whole, follows Fieller (1954). It contains every r for which
the contrast part - r * whole does not differ significantly from 0. It is finite if and only if `whole` differs
significantly from 0.

Shapes: Q queries of a direction, K cut-offs (the K of recall at K), U units, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from omnidistill.core.errors import InputError, NotFiniteError
from omnidistill.evaluation.student_t import quantile, two_sided

_LARGEST = 1e6  # distance of the ends of a ratio's interval from the ratio

Hits = Sequence[Float[Tensor, "_ _ _"]]
"""Hits of U units in [0, 1], one tensor U x Q x K per direction."""
Groups = Sequence[Int[Tensor, " _"]]
"""The group of each query, one tensor per direction."""
Variation = Literal["queries only", "queries and sets", "queries and runs"]
"""What the intervals of a row cover."""


@dataclass(frozen=True)
class Interval:
    """An estimate (`mean`) and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Coverage:
    """The sources of variation that the confidence intervals of a table row take into account.

    Attributes:
        variation: "queries only" for a single set or run, otherwise "queries and sets" or "queries and runs".
        number: number of sets or runs that the scores of the row are averaged over.
    """

    variation: Variation
    number: int

    @classmethod
    def of_sets(cls, number: int) -> Coverage:
        """Return the variation that confidence intervals cover if scores are averaged over this number of sets."""
        return cls("queries and sets" if number > 1 else "queries only", number)

    @classmethod
    def of_runs(cls, number: int) -> Coverage:
        """Return the variation that confidence intervals cover if scores are averaged over this number of runs."""
        return cls("queries and runs" if number > 1 else "queries only", number)


def gain_retained(zero: Hits, full: Hits, method: Hits, groups: Groups, level: float = 0.95) -> list[Interval | None]:
    """Return the gain retained with its confidence interval, for each cut-off.

    Gain retained is (method - zero) / (full - zero), where the names stand for mean hits. Training on all rows improves
    the score by full - zero. Gain retained is the fraction of this improvement that the method achieves. It is negative
    if the method is worse than the initial heads. It is undefined, and the result is None, if full - zero is not
    significantly above 0.

    Hits are given per unit. A unit is either a set, whose students `mean_unit` has averaged, or an independent run.

    Args:
        zero: hits of the initial heads, with one unit.
        full: hits of heads trained on all rows, with one unit per run.
        method: hits of the method, with one unit per set or run.
        groups: group of each query.
        level: confidence level, in (0, 1).

    Raises:
        InputError: shapes do not match, or the level is out of range.
        NotFiniteError: hits contain NaN or Inf.
    """
    return [
        _ratio(model, (-1.0, 0.0, 1.0), (-1.0, 1.0, 0.0), level)
        for model in _models({"zero": zero, "full": full, "method": method}, groups, level)
    ]


def paired_difference(a: Hits, b: Hits, groups: Groups, level: float = 0.95) -> list[Interval]:
    """Return the mean of `a` minus the mean of `b` with its confidence interval, for each cut-off.

    Args:
        a: hits of one method, with one entry per independent run or per set. The entry of a set is the average over its
            students (see `mean_unit`).
        b: hits of another method on the same queries. The number of runs or sets may differ.
        groups: group of each query.
        level: confidence level, in (0, 1).

    Raises:
        InputError: shapes do not match, or the level is out of range.
        NotFiniteError: hits contain NaN or Inf.
    """
    return [_interval(model.contrast((1.0, -1.0)), level) for model in _models({"a": a, "b": b}, groups, level)]


def mean_hits(hits: Hits) -> Float64[Tensor, " K"]:
    """Return the mean hits at each cut-off: the mean over queries and units (sets or runs), then over directions."""
    return torch.stack([each.double().mean((0, 1)) for each in hits]).mean(0).cpu()


def mean_unit(runs: Hits) -> Hits:
    """Return hits averaged over runs, such as the students of one set. The result has the shape of a single run."""
    return [each.mean(0, keepdim=True) for each in runs]


def mean_std(values: Float[Tensor, " R"]) -> tuple[float, float]:
    """Return the mean and the sample standard deviation over runs. The standard deviation of a single run is 0.

    Raises:
        InputError: there are no runs.
    """
    if len(values) == 0:
        raise InputError("mean and standard deviation: there are no runs; pass the value of at least one run")
    values = values.double()
    return float(values.mean()), float(values.std()) if len(values) > 1 else 0.0


@dataclass(frozen=True)
class _Contrast:
    """A weighted sum of scores, the variance of this sum, and the degrees of freedom of the variance."""

    value: float
    variance: float
    freedom: float

    @property
    def p_value(self) -> float:
        """The p-value of a two-sided test whether `value` is 0. `value` is a weighted sum of scores."""
        if self.variance == 0:
            return float(self.value == 0)
        return two_sided(abs(self.value) / math.sqrt(self.variance), self.freedom)


@dataclass(frozen=True)
class _Model:
    """The variance components of several methods at one cut-off.

    Attributes:
        means: score of each method.
        queries: covariance matrix of the scores that is due to the groups of queries.
        between: variance of each score that is due to the units (B_m in the module docstring).
        residual: variance of each score that is due to the residuals (R_m in the module docstring).
        units: number of units of each method. A unit is a set or an independent run.
        groups: number of groups of queries.
    """

    means: Sequence[float]
    queries: Sequence[Sequence[float]]
    between: Sequence[float]
    residual: Sequence[float]
    units: Sequence[int]
    groups: int

    def contrast(self, coefficients: Sequence[float]) -> _Contrast:
        """Return the weighted sum of the methods' scores with these coefficients, and its variance."""
        c, every = coefficients, range(len(coefficients))
        value = sum(c[m] * self.means[m] for m in every)
        queries = max(0.0, sum(c[m] * c[n] * self.queries[m][n] for m, n in product(every, every)))
        variance = bound = queries
        errors = bound_errors = _quotient(queries**2, self.groups - 1)
        for m in every:
            between, residual = c[m] ** 2 * self.between[m], c[m] ** 2 * self.residual[m]
            variance, bound = variance + between - residual, bound + between
            bound_errors += _quotient(between**2, self.units[m] - 1)
            errors += _quotient(between**2, self.units[m] - 1)
            errors += _quotient(residual**2, (self.units[m] - 1) * (self.groups - 1))
        if variance < bound / 2:
            variance, errors = bound / 2, bound_errors / 4
        return _Contrast(value, variance, max(1.0, _quotient(variance**2, errors, math.inf)))


def _models(named: Mapping[str, Hits], groups: Groups, level: float) -> list[_Model]:
    """Return one variance model per cut-off K, with the components of all methods in the order of `named`."""
    _check(named, groups, level)
    labels, joined = torch.unique(torch.cat([each.cpu() for each in groups]), return_inverse=True)
    codes = joined.split([len(each) for each in groups])
    num_groups, every = len(labels), list(named.values())
    correction = num_groups / max(num_groups - 1, 1)
    shares = [_shares(hits, codes, num_groups) for hits in every]
    mean_shares = torch.stack([each.mean(1) for each in shares])  # methods x G x K
    queries = correction * torch.einsum("mgk,ngk->kmn", mean_shares, mean_shares)
    units = [each.shape[1] for each in shares]
    between, residual = [], []
    for hits, share, mean_share, number in zip(every, shares, mean_shares, units, strict=True):
        pairs = max(number * (number - 1), 1)
        scores = torch.stack([each.cpu().double().mean(1) for each in hits]).mean(0)  # U x K
        between.append((scores - scores.mean(0)).square().sum(0) / pairs)
        residual.append(correction * (share - mean_share[:, None]).square().sum((0, 1)) / pairs)
    means = torch.stack([mean_hits(hits) for hits in every], 1)
    components = zip(
        means.tolist(),
        queries.tolist(),
        torch.stack(between, 1).tolist(),
        torch.stack(residual, 1).tolist(),
        strict=True,
    )
    return [_Model(*of_cut_off, units, num_groups) for of_cut_off in components]


def _shares(hits: Hits, codes: Sequence[Tensor], num_groups: int) -> Float64[Tensor, "G U K"]:
    """Return the influence of each group of queries on the score of each unit (set or independent run), to first order.

    For each direction, the influence is the sum of (hit - mean hit) over the queries of the group, divided by the total
    number of queries. The result is the mean over directions. Groups may have different numbers of queries.
    """
    shares = []
    for each, code in zip(hits, codes, strict=True):
        centred = each.cpu().double()
        centred = (centred - centred.mean(1, keepdim=True)).transpose(0, 1) / len(code)
        shares.append(centred.new_zeros(num_groups, *centred.shape[1:]).index_add_(0, code, centred))
    return torch.stack(shares).mean(0)


def _interval(contrast: _Contrast, level: float) -> Interval:
    half = quantile(level, contrast.freedom) * math.sqrt(contrast.variance) if contrast.variance else 0.0
    return Interval(contrast.value, contrast.value - half, contrast.value + half)


def _ratio(model: _Model, part: Sequence[float], whole: Sequence[float], level: float) -> Interval | None:
    """Return the ratio of two weighted sums of the methods' scores, with its confidence interval; None if undefined.

    The numerator has the weights `part`, and the denominator has the weights `whole`.

    The ratio is undefined if the denominator is not significantly above 0, or if an end of the interval is more than
    about 1e6 (`_LARGEST`) away from the ratio.
    """
    denominator = model.contrast(whole)
    if denominator.value <= 0 or denominator.p_value >= 1 - level:
        return None
    ratio = model.contrast(part).value / denominator.value

    def outside(value: float) -> bool:
        coefficients = [p - value * w for p, w in zip(part, whole, strict=True)]
        return model.contrast(coefficients).p_value < 1 - level

    def end(sign: int) -> float | None:
        inside, step = ratio, 1e-3
        while not outside(ratio + sign * step):
            inside, step = ratio + sign * step, 2 * step
            if step > _LARGEST:
                return None
        beyond = ratio + sign * step
        while abs(beyond - inside) > 1e-9 * max(1.0, abs(beyond)):
            middle = (inside + beyond) / 2
            if outside(middle):
                beyond = middle
            else:
                inside = middle
        return inside

    low, high = end(-1), end(1)
    return None if low is None or high is None else Interval(ratio, low, high)


def _quotient(value: float, divisor: int | float, without: float = 0.0) -> float:
    return value / divisor if divisor > 0 else without


def _check(named: Mapping[str, Hits], groups: Groups, level: float) -> None:
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
                    f"{cut_offs} cut-offs); pass hits of the same runs in every direction, at least one run"
                )
            if not torch.isfinite(each).all():
                raise NotFiniteError(f"hits of {name!r} contain NaN or Inf, so no interval can be computed")
    if not groups or any(len(each) == 0 for each in groups):
        raise InputError(
            "confidence interval: pass at least one retrieval direction, and at least one query per direction"
        )
    if not 0 < level < 1:
        raise InputError(f"level={level}: the confidence level must be above 0 and below 1")
