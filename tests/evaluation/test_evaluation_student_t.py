"""Student's t against scipy and closed forms."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from scipy import stats

from omnidistill.evaluation.student_t import quantile, two_sided

FREEDOMS = (1.0, 1.3, 2.0, 3.7, 4.0, 10.0, 55.5, 400.0, 1e4)


@pytest.mark.parametrize("freedom", FREEDOMS)
def test_p_values_and_quantiles_are_those_of_scipy(freedom: float) -> None:
    for t in (0.0, 1e-6, 0.3, 1.0, 2.0, 5.0, 12.7, 100.0, 1e9, 1e200):
        assert two_sided(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), rel=1e-8, abs=1e-250)
    for level in (0.01, 0.5, 0.95, 0.999):
        assert quantile(level, freedom) == pytest.approx(stats.t.ppf((1 + level) / 2, freedom), rel=1e-9)


def test_closed_forms() -> None:
    assert quantile(0.95, 1.0) == pytest.approx(math.tan(0.95 * math.pi / 2))  # Cauchy
    assert two_sided(3.0, 2.0) == pytest.approx(1 - 3 / math.sqrt(11))
    for freedom in (1e7, math.inf):
        assert quantile(0.95, freedom) == pytest.approx(NormalDist().inv_cdf(0.975), rel=1e-5)
    assert two_sided(math.inf, 3.0) == 0
