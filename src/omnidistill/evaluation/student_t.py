"""Student's t distribution with a real number of degrees of freedom, implemented without scipy.

For t with v degrees of freedom, P(|T| > t) = I_x(v / 2, 1 / 2) at x = v / (v + t^2), where I is the regularised
incomplete beta function. I_x is computed as a continued fraction (DLMF 8.17.22).
"""

from __future__ import annotations

import math

_MOST = 1e6  # degrees of freedom from which the distribution is treated as this one; it is normal to six digits
_TINY = 1e-300


def two_sided(t: float, freedom: float) -> float:
    """Return P(|T| > t), the p-value of a two-sided test with the statistic t >= 0."""
    freedom = min(freedom, _MOST)
    a, b, square = freedom / 2, 0.5, t * t
    if math.isinf(square):
        return 0.0
    x, complement = freedom / (freedom + square), square / (freedom + square)
    if x == 0 or complement == 0:
        return x
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    log_x = math.log(x) if x < 0.5 else math.log1p(-complement)
    scale = math.exp(a * log_x + b * math.log(complement) - log_beta)
    if x < (a + 1) / (a + b + 2):  # the fraction converges fast on this side
        return scale * _fraction(x, a, b) / a
    return 1 - scale * _fraction(complement, b, a) / b


def quantile(level: float, freedom: float) -> float:
    """Return the number t for which P(|T| <= t) = level. It is computed by bisection.

    Args:
        level: probability, in (0, 1).
        freedom: degrees of freedom, at least 1.
    """
    low, high = 0.0, 1.0
    while two_sided(high, freedom) > 1 - level:
        low, high = high, 2 * high
    while high - low > 1e-14 * high:
        middle = (low + high) / 2
        if two_sided(middle, freedom) > 1 - level:
            low = middle
        else:
            high = middle
    return high


def _fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction of the incomplete beta function, computed by the modified Lentz method.

    The method replaces a divisor by a tiny number if the divisor is 0.
    """
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or _TINY)
    value, number, change = d, 0, 0.0
    while abs(change - 1) > 1e-14 and number < 10_000:
        number += 1
        even = number * (b - number) * x / ((a + 2 * number - 1) * (a + 2 * number))
        odd = -(a + number) * (a + b + number) * x / ((a + 2 * number) * (a + 2 * number + 1))
        change = 1.0
        for term in (even, odd):
            d = 1 / ((1 + term * d) or _TINY)
            c = (1 + term / c) or _TINY
            change *= c * d
        value *= change
    return value
