"""The axes of a chart: a linear or logarithmic map from values to pixels, with ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

_MAX_LOG_TICKS = 8
_LOG_DIGITS = (range(1, 10), (1, 2, 3, 5), (1, 2, 5), (1,))
_SMALLEST_RANGE = 1e-300
_SKEW = 3.0  # largest value / median from which a logarithmic axis is easier to read


@dataclass(frozen=True)
class Axis:
    """Maps values in [low, high] to coordinates in [start, stop]. Each tick is a pair (value, label)."""

    low: float
    high: float
    start: float
    stop: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the coordinate of a value."""
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        share = ((math.log10(value) if self.log else value) - low) / (high - low)
        return self.start + share * (self.stop - self.start)


def linear_axis(low: float, high: float, start: float, stop: float, enclose: bool = True) -> Axis:
    """Return a linear axis for values in [low, high]. If `enclose`, extend it so that it begins and ends at a tick."""
    if high - low <= max(1e-9 * max(abs(low), abs(high)), _SMALLEST_RANGE):
        margin = abs(low) / 10 or 1.0
        low, high = low - margin, high + margin
    step = _nice_step((high - low) / 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    values = [round(index * step, decimals) for index in range(first, last + 1)]
    if enclose:
        low, high = values[0], values[-1]
    ticks = tuple((value, _number(value, decimals)) for value in values if low <= value <= high)
    return Axis(low, high, start, stop, ticks)


def log_axis(low: float, high: float, start: float, stop: float) -> Axis:
    """Return a logarithmic axis for positive values in [low, high], extended so that it begins and ends at a tick."""
    exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    for digits in _LOG_DIGITS:
        marks = [float(f"{digit}e{exponent}") for exponent in exponents for digit in digits]
        below = max(mark for mark in marks if mark <= low)
        above = min(mark for mark in marks if mark > below and mark >= high)
        between = [mark for mark in marks if below <= mark <= above]
        if len(between) <= _MAX_LOG_TICKS:
            break
    ticks = tuple((mark, f"{mark:g}") for mark in between[:: math.ceil(len(between) / _MAX_LOG_TICKS)])
    return Axis(below, above, start, stop, ticks, log=True)


def log_axis_helps(values: Iterable[float]) -> bool:
    """Return whether all finite values are positive and the largest is much larger than the median."""
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and max(finite) >= _SKEW * median(finite)


def _nice_step(rough: float) -> float:
    """Round `rough` up to the next number that is 1, 2 or 5 times a power of ten."""
    magnitude = 10.0 ** math.floor(math.log10(rough))
    return next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= rough * (1 - 1e-9))


def _number(value: float, decimals: int) -> str:
    text = f"{value:,.{decimals}f}" if decimals <= 5 and abs(value) < 1e7 else f"{value:g}"
    return text.replace("-", "−")
