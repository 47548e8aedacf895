"""Line charts as accessible inline SVG. The same input gives the same bytes.

Charts work on light and dark pages. Curves use the CSS variables `--series-1` to `--series-6` as colours if the page
defines these variables. All other elements use `currentColor`. Every curve has a label at its right end, so readers can
identify it without colour. If there are more than six curves, they also differ in their dash patterns. `standalone`
converts a chart to an SVG file that follows the reader's colour scheme. In this module, "values" are in units of the
data, and "coordinates" are in SVG units (pixels at the natural size).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from html import escape
from statistics import median_low

from omnidistill.report.axes import Axis, linear_axis, log_axis

Point = tuple[float, float]

_WIDTH, _HEIGHT = 480.0, 290.0
_LEFT, _TOP, _BOTTOM = 52.0, 30.0, 44.0
_COLOURS = ("#1f5f99", "#a8480b", "#1f7a4d", "#7a4a9e", "#7d6200", "#b0305c")
_DARK_COLOURS = ("#79b4ea", "#f0a065", "#6fcf9b", "#c6a0e8", "#d9bf4a", "#f08bb0")
_DASHES = ("", "6 4", "2 4", "10 4 2 4")
_NUM_COLUMNS = 160
_MAX_MARKED_POINTS = 40
_MAX_NAME_LENGTH = 20
_SMALLEST_LOG_VALUE = 1e-300
_LINE_HEIGHT = 14.0
_CHARACTER_WIDTH = 6.6
_SAMPLE_WIDTH = 22.0


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
) -> str:
    """Draw one or more curves as one `<svg>` element.

    A point that is not finite, or not positive on a logarithmic axis, leaves a gap in the curve. The gaps divide a
    curve into segments. A segment of more than 320 points is reduced to 160 columns. For each column, the chart shows
    the median and a band from the minimum to the maximum, so peaks stay visible. Screen readers read the title and a
    summary of the curves.

    Args:
        series: the points (x, y) of each curve in ascending order of x, by name of the curve.
        title: title of the chart.
        x_label, y_label: labels of the axes.
        floor: a lower bound on y, drawn as a dashed line with a label; None draws no line.
        marks: {name of a curve: x value at which the curve is marked with a ring}; None marks nothing.
        log_x, log_y: whether an axis is logarithmic.
    """
    drawn = {name: _segments(points, log_x, log_y) for name, points in series.items()}
    drawn = {name: segments for name, segments in drawn.items() if segments}
    if floor is not None and not _drawable(floor, log_y):
        floor = None
    if not drawn:
        return _wrap(title, "No data.", [_text(_WIDTH / 2, _HEIGHT / 2, "no data", anchor="middle")], _HEIGHT)
    right = 14.0
    if len(drawn) > 1:
        right += 8 + _CHARACTER_WIDTH * max(len(_short(name)) for name in drawn)
    right += _SAMPLE_WIDTH if len(drawn) > len(_COLOURS) else 0
    height = max(_HEIGHT, _TOP + _BOTTOM + _LINE_HEIGHT * len(drawn))
    points = [point for segments in drawn.values() for segment in segments for point in segment]
    x_values = [x for x, _ in points]
    y_values = [y for _, y in points] + ([] if floor is None else [floor])
    if log_x:
        x_axis = log_axis(min(x_values), max(x_values), _LEFT, _WIDTH - right)
    else:
        x_axis = linear_axis(min(x_values), max(x_values), _LEFT, _WIDTH - right, enclose=False)
    make_y = log_axis if log_y else linear_axis
    y_axis = make_y(min(y_values), max(y_values), height - _BOTTOM, _TOP)
    body = _frame(x_axis, y_axis, x_label, y_label)
    if floor is not None:
        body += _floor_line(floor, x_axis, y_axis)
    for number, segments in enumerate(drawn.values()):
        body.append(_curve(segments, x_axis, y_axis, number))
    if len(drawn) > 1:
        body += _end_names(drawn, x_axis, y_axis)
    marked = {name: x for name, x in (marks or {}).items() if name in drawn}
    body += _rings(drawn, marked, x_axis, y_axis)
    return _wrap(title, _describe(drawn, x_label, y_label, floor, log_y, marked), body, height)


def standalone(chart: str) -> str:
    """Return a chart as the content of an SVG file. The colours follow the reader's light or dark colour scheme."""
    dark = "".join(f"--series-{number}:{colour};" for number, colour in enumerate(_DARK_COLOURS, start=1))
    style = f"<style>svg{{color:#1f2328}}@media(prefers-color-scheme:dark){{svg{{color:#e6edf3;{dark}}}}}</style>"
    opened = chart.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return f"{opened.removesuffix('</svg>')}{style}</svg>\n"


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


def _columns(segment: list[Point]) -> tuple[list[Point], list[Point]]:
    """Return the points to draw for a segment of a curve, and the outline of the range that the segment covers.

    A segment of more than 320 points is reduced to 160 points, each the median of consecutive points. A shorter segment
    is returned unchanged, with an empty outline.
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
        body.append(_line(left, y, right, y, ' stroke-opacity="0.15"'))
        body.append(_text(left - 6, y + 4, label, anchor="end"))
    for value, label in x_axis.ticks:
        x = x_axis(value)
        body.append(_line(x, bottom, x, bottom + 4))
        body.append(_text(x, bottom + 17, label, anchor="middle"))
    body.append(_line(left, bottom, right, bottom))
    body.append(_text(4.0, 14.0, y_label))
    body.append(_text(right, bottom + _BOTTOM - 8, x_label, anchor="end"))
    return body


def _floor_line(floor: float, x_axis: Axis, y_axis: Axis) -> list[str]:
    y = y_axis(floor)
    label_y = y - 5 if y - _LINE_HEIGHT > _TOP else y + _LINE_HEIGHT
    return [
        _line(x_axis.start, y, x_axis.stop, y, ' stroke-dasharray="5 4"'),
        _text(x_axis.stop, label_y, f"floor {floor:.3g}", anchor="end"),
    ]


def _curve(segments: list[list[Point]], x_axis: Axis, y_axis: Axis, number: int) -> str:
    colour = _colour(number)
    path, marks, bands = "", "", ""
    count = sum(len(segment) for segment in segments)
    for segment in segments:
        line, band = ([f"{x_axis(x):.1f} {y_axis(y):.1f}" for x, y in points] for points in _columns(segment))
        path += "M" + "L".join(line) + ("h0" if len(line) == 1 else "")
        bands += "M" + "L".join(band) + "Z" if band else ""
        marks += "".join(f"M{place}h0" for place in line) if count <= _MAX_MARKED_POINTS else ""
    stroke = f'fill="none" stroke="{colour}" stroke-linecap="round" stroke-linejoin="round"'
    return (
        (f'<path d="{bands}" fill="{colour}" fill-opacity="0.2"/>' if bands else "")
        + f'<path d="{path}" {stroke} stroke-width="1.5"{_dash(number)}/>'
        + (f'<path d="{marks}" {stroke} stroke-width="5"/>' if marks else "")
    )


def _rings(
    drawn: Mapping[str, list[list[Point]]], marked: Mapping[str, float], x_axis: Axis, y_axis: Axis
) -> list[str]:
    """Return a ring for each marked curve, at the drawn point nearest to the mark, and a legend for the rings."""
    body = []
    for number, (name, segments) in enumerate(drawn.items()):
        if name in marked:
            line = [point for segment in segments for point in _columns(segment)[0]]
            x, y = min(line, key=lambda point: abs(point[0] - marked[name]))
            ring = f'cx="{x_axis(x):.1f}" cy="{y_axis(y):.1f}" r="5" fill="none" stroke="{_colour(number)}"'
            body.append(f'<circle {ring} stroke-width="2"/>')
    if body:
        body.append(_text(x_axis.stop, 14.0, f"○ {_marked_sets(marked)}", anchor="end"))
    return body


def _marked_sets(marked: Mapping[str, float]) -> str:
    places = set(marked.values())
    return f"returned set, iteration {places.pop():g}" if len(places) == 1 else "returned sets"


def _end_names(drawn: Mapping[str, list[list[Point]]], x_axis: Axis, y_axis: Axis) -> list[str]:
    """Return the labels of the curves. Each label is at the end of its curve; overlapping labels are moved apart."""
    lasts = [_columns(segments[-1])[0][-1][1] for segments in drawn.values()]
    ends = sorted((y_axis(last), number, name) for number, (name, last) in enumerate(zip(drawn, lasts, strict=True)))
    heights: list[float] = []
    for height, _, _ in ends:
        heights.append(max(height, heights[-1] + _LINE_HEIGHT) if heights else height)
    limit = y_axis.start
    for index in reversed(range(len(heights))):
        heights[index] = min(heights[index], limit)
        limit = heights[index] - _LINE_HEIGHT
    left, body = x_axis.stop + 8, []
    for height, (_, number, name) in zip(heights, ends, strict=True):
        shift = 0.0
        if len(drawn) > len(_COLOURS):
            shift = _SAMPLE_WIDTH
            sample = f"M{left:.1f} {height:.1f}L{left + shift - 4:.1f} {height:.1f}"
            body.append(f'<path d="{sample}" stroke="{_colour(number)}" stroke-width="1.5"{_dash(number)}/>')
        body.append(_text(left + shift, height + 4, _short(name), fill=_colour(number)))
    return body


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


def _wrap(title: str, description: str, body: list[str], height: float) -> str:
    content = "".join(body)
    key = hashlib.sha256("\0".join((title, description, content)).encode()).hexdigest()[:10]
    return (
        f'<svg class="chart" role="img" aria-labelledby="t{key} d{key}" viewBox="0 0 {_WIDTH:g} {height:g}" '
        f'font-family="system-ui, sans-serif" font-size="12.5" fill="currentColor">'
        f'<title id="t{key}">{escape(title)}</title><desc id="d{key}">{escape(description)}</desc>{content}</svg>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, extra: str = "") -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="currentColor"{extra}/>'


def _text(x: float, y: float, text: str, anchor: str = "start", fill: str = "currentColor") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}">{escape(text)}</text>'


def _colour(number: int) -> str:
    index = number % len(_COLOURS)
    return f"var(--series-{index + 1}, {_COLOURS[index]})"


def _dash(number: int) -> str:
    dash = _DASHES[number // len(_COLOURS) % len(_DASHES)]
    return f' stroke-dasharray="{dash}"' if dash else ""


def _short(name: str) -> str:
    """Shorten a long name in the middle, because the names of runs of the same method differ at the end."""
    if len(name) <= _MAX_NAME_LENGTH:
        return name
    return f"{name[: _MAX_NAME_LENGTH // 2]}…{name[1 - _MAX_NAME_LENGTH // 2 :]}"
