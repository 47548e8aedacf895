"""Confidence intervals for score differences and for the share of a gain that a method retains ("gain retained").

The variance and the degrees of freedom of a weighted sum of scores come from `variance_components`. Intervals use
Student's t distribution. If a method has only one set or run, its intervals cover only the variation between queries.

The interval of a ratio of two weighted sums follows Fieller (1954). It contains every r for which the difference
numerator - r * denominator is not significant. It is finite only if the denominator differs significantly from 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.evaluation.hits import Groups, Hits
from omnidistill.evaluation.student_t import quantile
from omnidistill.evaluation.variance_components import Contrast, VarianceModel, variance_models

_LARGEST = 1e6  # distance of the ends of a ratio's interval from the ratio

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
        """Return the sources of variation for a row whose scores are averaged over this number of sets."""
        return cls("queries and sets" if number > 1 else "queries only", number)

    @classmethod
    def of_runs(cls, number: int) -> Coverage:
        """Return the sources of variation for a row whose scores are averaged over this number of runs."""
        return cls("queries and runs" if number > 1 else "queries only", number)


def gain_retained(zero: Hits, full: Hits, method: Hits, groups: Groups, level: float = 0.95) -> list[Interval | None]:
    """Return the gain retained with its confidence interval, for each K of recall at K.

    Training on all rows improves the mean hits by full - zero. The gain retained is the share of this improvement that
    the method achieves, (method - zero) / (full - zero). It is None if full - zero is not significantly above 0.

    Args:
        zero: hits of the initial heads.
        full: hits of heads trained on all rows, for each training run.
        method: hits of the method, for each set or training run. Average the students of a set with `mean_unit`.
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


def mean_std(values: Float[Tensor, " R"]) -> tuple[float, float]:
    """Return the mean and the sample standard deviation over runs. The standard deviation of a single run is 0.

    Raises:
        InputError: there are no runs.
    """
    if len(values) == 0:
        raise InputError("mean and standard deviation: there are no runs; pass the value of at least one run")
    values = values.double()
    return float(values.mean()), float(values.std()) if len(values) > 1 else 0.0


def _models(named: Mapping[str, Hits], groups: Groups, level: float) -> list[VarianceModel]:
    if not 0 < level < 1:
        raise InputError(f"level={level}: the confidence level must be above 0 and below 1")
    return variance_models(named, groups)


def _interval(contrast: Contrast, level: float) -> Interval:
    half = quantile(level, contrast.freedom) * math.sqrt(contrast.variance) if contrast.variance else 0.0
    return Interval(contrast.value, contrast.value - half, contrast.value + half)


def _ratio(model: VarianceModel, part: Sequence[float], whole: Sequence[float], level: float) -> Interval | None:
    """Return the ratio of two weighted sums of scores, with its confidence interval; None if it is undefined.

    The model contains the scores of several methods. `part` contains their weights in the numerator, and `whole` their
    weights in the denominator.

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
