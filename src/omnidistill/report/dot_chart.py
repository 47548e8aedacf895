"""Dot charts as accessible inline SVG: estimates with intervals, one row each, sorted by the caller.

The name of a row is left of its dot in a wide chart, and above the dot in a narrow one. Names are never shortened; they
are broken into several lines. The value of every row is printed at the right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from omnidistill.evaluation.intervals import Interval
from omnidistill.report.axes import Axis, linear_axis
from omnidistill.report.svg_elements import (
    LINE_HEIGHT,
    series_colour,
    svg_chart,
    svg_line,
    svg_text,
    text_width,
    wrapped,
)

_NARROW = 560.0  # charts below this width have names above the dots
_TOP, _BOTTOM, _EDGE = 34.0, 42.0, 4.0
_PADDING = 12.0  # between two rows
_MAX_NAME_SHARE = 0.4
_MARGIN = 0.03  # of the range of values, at both ends of the axis
_BOLD = 1.1  # width of bold text, relative to regular text


@dataclass(frozen=True)
class Dot:
    """One row of a dot chart.

    Attributes:
        name: name of the row.
        estimate: the value and its interval, in the units of the x axis.
        text: the value as text.
        strong: whether the row is emphasised by colour and weight.
        hollow: whether the dot is drawn as a ring.
    """

    name: str
    estimate: Interval
    text: str
    strong: bool = False
    hollow: bool = False


def dot_chart(
    dots: Sequence[Dot], *, title: str, x_label: str, lines: Mapping[str, float], width: float, name: str = ""
) -> str:
    """Draw the dots as one `<svg>` element. Dots whose value or interval is not finite are omitted.

    Args:
        dots: the rows, from top to bottom.
        title: title of the chart.
        x_label: label of the x axis.
        lines: {label: x value} of vertical reference lines. The x axis includes these values.
        width: natural width of the chart.
        name: additional CSS class of the `<svg>` element.
    """
    drawn = [dot for dot in dots if all(map(math.isfinite, _ends(dot)))]
    wide = width >= _NARROW
    values_width = max((_BOLD * text_width(dot.text) for dot in drawn), default=0.0) + 8
    left = 10.0
    if wide:
        left = min(_MAX_NAME_SHARE * width, max((_BOLD * text_width(dot.name) for dot in drawn), default=0.0) + 16)
    places = [*lines.values(), *(end for dot in drawn for end in _ends(dot))] or [0.0]
    margin = _MARGIN * (max(places) - min(places))
    axis = linear_axis(min(places) - margin, max(places) + margin, left, width - values_width - 10, enclose=False)
    names_width = (left - 12 if wide else width - values_width) / _BOLD
    names = [wrapped(dot.name, names_width) for dot in drawn]
    heights = [LINE_HEIGHT * len(parts) + _PADDING + (0 if wide else LINE_HEIGHT) for parts in names]
    bottom = _TOP + sum(heights)
    body = [*_axis(axis, bottom, x_label), *_lines(lines, axis, bottom)]
    top = _TOP
    for dot, parts, height in zip(drawn, names, heights, strict=True):
        weight = ' font-weight="650"' if dot.strong else ""
        first = top + _PADDING / 2 + LINE_HEIGHT - 3
        x, anchor = (left - 12, "end") if wide else (_EDGE, "start")
        body += [svg_text(x, first + LINE_HEIGHT * n, part, anchor, extra=weight) for n, part in enumerate(parts)]
        y = top + height / 2 if wide else first + LINE_HEIGHT * len(parts) - 2
        body += _dot(dot, axis, y)
        body.append(svg_text(width - _EDGE, y + 4, dot.text, "end", extra=weight))
        top += height
    description = " ".join(f"{dot.name}: {dot.text}." for dot in drawn) or "No data."
    return svg_chart(title, f"{x_label}. {description}", body, width, bottom + _BOTTOM, name)


def _ends(dot: Dot) -> tuple[float, float, float]:
    return dot.estimate.mean, dot.estimate.low, dot.estimate.high


def _dot(dot: Dot, axis: Axis, y: float) -> list[str]:
    colour = series_colour(0) if dot.strong else "currentColor"
    x, low, high = (axis(end) for end in _ends(dot))
    line = f'<path d="M{low:.1f} {y:.1f}L{high:.1f} {y:.1f}" stroke="{colour}" stroke-width="{3 if dot.strong else 2}"'
    radius = 5.5 if dot.strong else 4.5
    fill = "var(--page, #fff)" if dot.hollow else colour
    circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}" stroke="{colour}" stroke-width="1.5"/>'
    return [f'{line} stroke-opacity="0.55" stroke-linecap="round"/>', circle]


def _axis(axis: Axis, bottom: float, x_label: str) -> list[str]:
    body = []
    for value, label in axis.ticks:
        x = axis(value)
        body.append(svg_line(x, _TOP, x, bottom, ' stroke-opacity="0.1"'))
        body.append(svg_text(x, bottom + 15, label, "middle"))
    return [*body, svg_text(axis.stop, bottom + 33, x_label, "end")]


def _lines(lines: Mapping[str, float], axis: Axis, bottom: float) -> list[str]:
    """Return vertical reference lines with a label above each. Labels are kept inside the left edge."""
    body = []
    for label, value in lines.items():
        x, half = axis(value), text_width(label) / 2
        body.append(svg_line(x, _TOP - 6, x, bottom, ' stroke-opacity="0.5"'))
        body.append(svg_text(max(x, _EDGE + half), _TOP - 12, label, "middle"))
    return body
