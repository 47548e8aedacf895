"""Line charts as accessible inline SVG. The same input gives the same bytes.

Every curve has a name at its right end or, if names are long, in a list above the chart (see `curve_names`). If there
are more than six curves, they also differ in their dash patterns. In this module, "values" are in units of the data,
and "coordinates" are in SVG units (see `svg_elements`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median_low

from omnidistill.report.axes import Axis, linear_axis, log_axis
from omnidistill.report.curve_names import end_names, end_names_width, name_list, names_fit_at_ends
from omnidistill.report.svg_elements import (
    LINE_HEIGHT,
    series_colour,
    series_dash,
    svg_chart,
    svg_line,
    svg_text,
    text_width,
)

Point = tuple[float, float]

_HEIGHT = 290.0
_LEFT, _TOP, _BOTTOM = 52.0, 30.0, 44.0
_NUM_COLUMNS = 160
_MAX_MARKED_POINTS = 40
_SMALLEST_LOG_VALUE = 1e-300


def line_chart(
    series: Mapping[str, Sequence[Point]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    floor: float | None = None,
    marks: Mapping[str, float] | None = None,
    log_x: bool = False,
    log_y: bool = False,
    width: float = 480.0,
) -> str:
    """Draw one or more curves as one `<svg>` element.

    A point that is not finite, or not positive on a logarithmic axis, leaves a gap in the curve. The gaps divide a
    curve into segments. A segment of more than 320 points is reduced to 160 columns. For each column, the chart shows
    the median and a band from the minimum to the maximum, so peaks stay visible. Screen readers read the title and a
    summary of the curves.

    Args:
        series: {name of a curve: its points (x, y) in ascending order of x}.
        title: title of the chart.
        x_label, y_label: labels of the axes.
        floor: a lower bound on y, drawn as a dashed line with a label; None draws no line.
        marks: {name of a curve: x value at which the curve is marked with a ring}; None marks nothing.
        log_x, log_y: whether an axis is logarithmic.
        width: natural width of the chart.
    """
    drawn = {name: _segments(points, log_x, log_y) for name, points in series.items()}
    drawn = {name: segments for name, segments in drawn.items() if segments}
    if floor is not None and not _drawable(floor, log_y):
        floor = None
    if not drawn:
        return svg_chart(title, "No data.", [svg_text(width / 2, _HEIGHT / 2, "no data", "middle")], width, _HEIGHT)
    points = [point for segments in drawn.values() for segment in segments for point in segment]
    x_values = [x for x, _ in points]
    y_values = [y for _, y in points] + ([] if floor is None else [floor])
    # The margins depend on the labels of the axes, so the axes get their coordinates afterwards.
    x_axis = (log_axis if log_x else _tight_axis)(min(x_values), max(x_values), 0.0, 1.0)
    y_axis = (log_axis if log_y else linear_axis)(min(y_values), max(y_values), 0.0, 1.0)
    names = list(drawn)
    at_ends = len(names) > 1 and names_fit_at_ends(names, width)
    marked = {name: x for name, x in (marks or {}).items() if name in drawn}
    left = max(_LEFT, 10 + max(text_width(label) for _, label in y_axis.ticks))
    right = max(14.0, 2 + max(text_width(label) for _, label in x_axis.ticks) / 2)
    right = max(right, 14 + end_names_width(names)) if at_ends else right
    body, top = ([], _TOP) if not marked else (_mark_legend(marked), _TOP + LINE_HEIGHT)
    if len(names) > 1 and not at_ends:
        listed, list_height = name_list(names, top - 8, width)
        body, top = body + listed, top + list_height + 4
    height = max(_HEIGHT + top - _TOP, top + _BOTTOM + (LINE_HEIGHT * len(names) if at_ends else 0))
    x_axis = replace(x_axis, start=left, stop=width - right)
    y_axis = replace(y_axis, start=height - _BOTTOM, stop=top)
    body += _frame(x_axis, y_axis, x_label, y_label)
    if floor is not None:
        body += _floor_line(floor, x_axis, y_axis)
    body += [_curve(segments, x_axis, y_axis, number) for number, segments in enumerate(drawn.values())]
    if at_ends:
        lasts = [y_axis(columns(segments[-1])[0][-1][1]) for segments in drawn.values()]
        body += end_names(names, lasts, x_axis.stop + 8, y_axis.start)
    body += _rings(drawn, marked, x_axis, y_axis)
    return svg_chart(title, _describe(drawn, x_label, y_label, floor, log_y, marked), body, width, height)


def _tight_axis(low: float, high: float, start: float, stop: float) -> Axis:
    return linear_axis(low, high, start, stop, enclose=False)


def _drawable(value: float, log: bool) -> bool:
    return math.isfinite(value) and (value > _SMALLEST_LOG_VALUE or not log)


def _segments(points: Sequence[Point], log_x: bool, log_y: bool) -> list[list[Point]]:
    """Split the curve at points that cannot be drawn; return the segments of drawable points between them."""
    segments: list[list[Point]] = [[]]
    for x, y in points:
        if _drawable(x, log_x) and _drawable(y, log_y):
            segments[-1].append((x, y))
        elif segments[-1]:
            segments.append([])
    return [segment for segment in segments if segment]


def columns(segment: list[Point]) -> tuple[list[Point], list[Point]]:
    """Return the points to draw for a segment of a curve, and the outline of a band that contains all its values.

    A segment of more than 320 points is divided into 160 columns. Each column is drawn as its median, and the band goes
    from its smallest to its largest value. A shorter segment is drawn unchanged, without a band.
    """
    if len(segment) <= 2 * _NUM_COLUMNS:
        return segment, []
    line, low, high = [], [], []
    for column in range(_NUM_COLUMNS):
        points = segment[len(segment) * column // _NUM_COLUMNS : len(segment) * (column + 1) // _NUM_COLUMNS]
        x, heights = points[len(points) // 2][0], [y for _, y in points]
        line.append((x, median_low(heights)))
        low.append((x, min(heights)))
        high.append((x, max(heights)))
    return line, low + high[::-1]


def _frame(x_axis: Axis, y_axis: Axis, x_label: str, y_label: str) -> list[str]:
    left, right, bottom = x_axis.start, x_axis.stop, y_axis.start
    body = []
    for value, label in y_axis.ticks:
        y = y_axis(value)
        body.append(svg_line(left, y, right, y, ' stroke-opacity="0.15"'))
        body.append(svg_text(left - 6, y + 4, label, anchor="end"))
    for value, label in x_axis.ticks:
        x = x_axis(value)
        body.append(svg_line(x, bottom, x, bottom + 4))
        body.append(svg_text(x, bottom + 17, label, anchor="middle"))
    body.append(svg_line(left, bottom, right, bottom))
    body.append(svg_text(4.0, 14.0, y_label))
    body.append(svg_text(right, bottom + _BOTTOM - 8, x_label, anchor="end"))
    return body


def _floor_line(floor: float, x_axis: Axis, y_axis: Axis) -> list[str]:
    y = y_axis(floor)
    label_y = y - 5 if y - LINE_HEIGHT > y_axis.stop else y + LINE_HEIGHT
    return [
        svg_line(x_axis.start, y, x_axis.stop, y, ' stroke-dasharray="5 4"'),
        svg_text(x_axis.stop, label_y, f"floor {floor:.3g}", anchor="end"),
    ]


def _curve(segments: list[list[Point]], x_axis: Axis, y_axis: Axis, number: int) -> str:
    colour = series_colour(number)
    path, marks, bands = "", "", ""
    count = sum(len(segment) for segment in segments)
    for segment in segments:
        line, band = ([f"{x_axis(x):.1f} {y_axis(y):.1f}" for x, y in points] for points in columns(segment))
        path += "M" + "L".join(line) + ("h0" if len(line) == 1 else "")
        bands += "M" + "L".join(band) + "Z" if band else ""
        marks += "".join(f"M{place}h0" for place in line) if count <= _MAX_MARKED_POINTS else ""
    stroke = f'fill="none" stroke="{colour}" stroke-linecap="round" stroke-linejoin="round"'
    return (
        (f'<path d="{bands}" fill="{colour}" fill-opacity="0.2"/>' if bands else "")
        + f'<path d="{path}" {stroke} stroke-width="1.5"{series_dash(number)}/>'
        + (f'<path d="{marks}" {stroke} stroke-width="5"/>' if marks else "")
    )


def _rings(
    drawn: Mapping[str, list[list[Point]]], marked: Mapping[str, float], x_axis: Axis, y_axis: Axis
) -> list[str]:
    """Return a ring for each marked curve. `marked` gives its x value; the ring is at the nearest drawn point."""
    body = []
    for number, (name, segments) in enumerate(drawn.items()):
        if name in marked:
            line = [point for segment in segments for point in columns(segment)[0]]
            x, y = min(line, key=lambda point: abs(point[0] - marked[name]))
            ring = f'cx="{x_axis(x):.1f}" cy="{y_axis(y):.1f}" r="5" fill="none" stroke="{series_colour(number)}"'
            body.append(f'<circle {ring} stroke-width="2"/>')
    return body


def _mark_legend(marked: Mapping[str, float]) -> list[str]:
    places = set(marked.values())
    text = f"returned set, iteration {places.pop():,g}" if len(places) == 1 else "returned sets"
    return [svg_text(4.0, 14.0 + LINE_HEIGHT, f"○ {text}")]


def _describe(
    drawn: Mapping[str, list[list[Point]]],
    x_label: str,
    y_label: str,
    floor: float | None,
    log_y: bool,
    marked: Mapping[str, float],
) -> str:
    parts = [f"{y_label} against {x_label}{', logarithmic' if log_y else ''}."]
    for name, segments in drawn.items():
        points = [point for segment in segments for point in segment]
        (x0, first), (x1, last) = points[0], points[-1]
        lowest, highest = min(y for _, y in points), max(y for _, y in points)
        parts.append(
            f"{name}: from {first:.3g} at {x0:g} to {last:.3g} at {x1:g}, lowest {lowest:.3g}, highest {highest:.3g}"
            + (f"; the returned set is at {marked[name]:g}." if name in marked else ".")
        )
    if floor is not None:
        parts.append(f"Floor: {floor:.3g}.")
    return " ".join(parts)
