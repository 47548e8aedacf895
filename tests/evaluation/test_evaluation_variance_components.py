"""Variances of differences of scores against the two-way analysis of variance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from omnidistill.evaluation.variance_components import variance_models


def difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float, float]:
    """Value, variance and degrees of freedom of mean(a) - mean(b), for units x groups with one query per group."""
    named = {name: [torch.from_numpy(y)[..., None]] for name, y in (("a", a), ("b", b))}
    [model] = variance_models(named, [torch.arange(a.shape[1])])
    contrast = model.contrast((1.0, -1.0))
    return contrast.value, contrast.variance, contrast.freedom


def mean_squares(y: NDArray[np.float64]) -> tuple[float, float, float]:
    """Of groups, units and residuals, for units x groups with one number per cell."""
    units, groups = y.shape
    of_units, of_groups = y.mean(1, keepdims=True), y.mean(0, keepdims=True)
    residual = y - of_units - of_groups + y.mean()
    return (
        float(units * ((of_groups - y.mean()) ** 2).sum() / (groups - 1)),
        float(groups * ((of_units - y.mean()) ** 2).sum() / (units - 1)),
        float((residual**2).sum() / ((units - 1) * (groups - 1))),
    )


@pytest.mark.parametrize(("ease", "luck", "bounded"), [(0.2, 0.05, False), (0.2, 0.3, False), (0.0, 0.0, True)])
def test_on_balanced_data_the_variance_is_that_of_the_two_way_analysis_of_variance(
    ease: float, luck: float, bounded: bool
) -> None:
    """Without effects of groups and sets, both contain little but the residual, and the lower bound is used."""
    generator = np.random.default_rng(3)
    y = 0.5 + ease * generator.normal(size=(1, 30)) + luck * generator.normal(size=(4, 1))
    y += 0.1 * generator.normal(size=(4, 30))
    of_groups, of_units, residual = mean_squares(y)
    variance = of_groups + of_units - residual
    errors = of_groups**2 / 29 + of_units**2 / 3 + residual**2 / (3 * 29)
    assert (variance < (of_groups + of_units) / 2) == bounded
    if bounded:
        variance, errors = (of_groups + of_units) / 2, (of_groups**2 / 29 + of_units**2 / 3) / 4
    expected = (y.mean(), variance / y.size, variance**2 / errors)
    assert difference(y, np.zeros((1, 30))) == pytest.approx(expected, rel=1e-9)


def test_a_difference_adds_the_units_of_both_and_the_groups_of_the_difference() -> None:
    generator = np.random.default_rng(4)
    shared = generator.normal(size=(1, 25))
    a = shared + 0.4 * generator.normal(size=(3, 1)) + 0.3 * generator.normal(size=(3, 25))
    b = shared + 0.2 * generator.normal(size=(6, 1)) + 0.5 * generator.normal(size=(6, 25))
    queries = (a.mean(0) - b.mean(0)).var(ddof=1) / 25
    variance, errors = queries, queries**2 / 24
    for y in (a, b):
        _, of_units, residual = mean_squares(y)
        variance += (of_units - residual) / y.size
        errors += (of_units / y.size) ** 2 / (len(y) - 1) + (residual / y.size) ** 2 / ((len(y) - 1) * 24)
    expected = (a.mean() - b.mean(), variance, variance**2 / errors)
    assert difference(a, b) == pytest.approx(expected, rel=1e-9)
