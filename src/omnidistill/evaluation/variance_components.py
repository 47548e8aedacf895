"""Variance of weighted sums of scores, from variance components.

A score is the mean of hits, in [0, 1], over queries. All methods answer the same queries, which belong to G groups. A
method m has U_m units, each a training run or a set. The score of a set is the mean over its students. The model is

    y_ug = mean + group_g + unit_u + residual_ug

where y_ug is the part of the score of unit u that comes from group g. A weighted sum of scores, such as a difference,
is C = sum_m c_m score_m. Its variance is

    V = A + sum_m c_m^2 (B_m - R_m)

    A    variance due to the groups, including covariances between methods
    B_m  variance of score m due to its units: the variance between units, divided by U_m
    R_m  variance of score m due to the residuals; it is subtracted because A and B_m both contain it

In expectation, V is at least (A + sum_m c_m^2 B_m) / 2. If V is below this bound, the bound is used instead.
With one unit per method, all B_m and R_m are 0, so V covers only the variation between queries. The degrees of freedom
follow Satterthwaite (1946).

Shapes: Q queries of a direction, K cut-offs (the K of recall at K), U units, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float64
from torch import Tensor

from omnidistill.evaluation.hits import Groups, Hits, check_hits, mean_hits
from omnidistill.evaluation.student_t import two_sided


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of scores, the variance of this sum, and the degrees of freedom of the variance."""

    value: float
    variance: float
    freedom: float

    @property
    def p_value(self) -> float:
        """The p-value of a two-sided test of the hypothesis that the weighted sum of scores, `value`, is 0."""
        if self.variance == 0:
            return float(self.value == 0)
        return two_sided(abs(self.value) / math.sqrt(self.variance), self.freedom)


@dataclass(frozen=True)
class VarianceModel:
    """The variance components of several methods at one cut-off.

    A method is scored on several units. A unit is a set or an independent run.

    Attributes:
        means: score of each method.
        queries: the part of the covariance matrix of the scores that is due to the groups of queries.
        between: variance of each score due to its units (B_m in the module docstring).
        residual: variance of each score due to the residuals (R_m in the module docstring).
        units: number of units of each method.
        groups: number of groups of queries.
    """

    means: Sequence[float]
    queries: Sequence[Sequence[float]]
    between: Sequence[float]
    residual: Sequence[float]
    units: Sequence[int]
    groups: int

    def contrast(self, coefficients: Sequence[float]) -> Contrast:
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
        return Contrast(value, variance, max(1.0, _quotient(variance**2, errors, math.inf)))


def variance_models(named: Mapping[str, Hits], groups: Groups) -> list[VarianceModel]:
    """Return one variance model per cut-off K, with the components of all methods in the order of `named`.

    Raises:
        InputError: shapes do not match, or there are no directions or queries.
        NotFiniteError: hits contain NaN or Inf.
    """
    check_hits(named, groups)
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
    return [VarianceModel(*of_cut_off, units, num_groups) for of_cut_off in components]


def _shares(hits: Hits, codes: Sequence[Tensor], num_groups: int) -> Float64[Tensor, "G U K"]:
    """Return by how much each group of queries raises or lowers the score of each set or run.

    This is the sum of (hit - mean hit) over the queries of the group, divided by the number of all queries and averaged
    over directions. Shapes: G groups, U sets or runs, K cut-offs.
    """
    shares = []
    for each, code in zip(hits, codes, strict=True):
        centred = each.cpu().double()
        centred = (centred - centred.mean(1, keepdim=True)).transpose(0, 1) / len(code)
        shares.append(centred.new_zeros(num_groups, *centred.shape[1:]).index_add_(0, code, centred))
    return torch.stack(shares).mean(0)


def _quotient(value: float, divisor: int | float, without: float = 0.0) -> float:
    return value / divisor if divisor > 0 else without
