"""Draw the names of curves at their right ends or, if the names are long, in a list above the chart.

A name is never shortened. The list breaks a name that is wider than the chart into several lines.
"""

from __future__ import annotations

from collections.abc import Sequence

from omnidistill.report.svg_elements import (
    COLOURS,
    LINE_HEIGHT,
    series_colour,
    series_dash,
    svg_text,
    text_width,
    wrapped,
)

SAMPLE_WIDTH = 22.0
"""Width of the sample of a curve in front of its name."""
_MAX_SHARE = 0.28  # of the width of a chart that names at the ends of curves may use


def names_fit_at_ends(names: Sequence[str], width: float) -> bool:
    """Return whether the names are short enough to be at the ends of the curves in a chart of this width."""
    return max(map(text_width, names)) <= _MAX_SHARE * width


def end_names_width(names: Sequence[str]) -> float:
    """Return the width of names at the ends of curves, including the space around them."""
    return 8 + max(map(text_width, names)) + (SAMPLE_WIDTH if len(names) > len(COLOURS) else 0)


def end_names(names: Sequence[str], ends: Sequence[float], left: float, bottom: float) -> list[str]:
    """Return the names at the ends of the curves; names that would overlap are moved apart.

    Args:
        names: the name of every curve.
        ends: y coordinate of the end of every curve.
        left: x coordinate of the names.
        bottom: largest y coordinate of a name.
    """
    ordered = sorted((end, number, name) for number, (name, end) in enumerate(zip(names, ends, strict=True)))
    heights: list[float] = []
    for height, _, _ in ordered:
        heights.append(max(height, heights[-1] + LINE_HEIGHT) if heights else height)
    limit = bottom
    for index in reversed(range(len(heights))):
        heights[index] = min(heights[index], limit)
        limit = heights[index] - LINE_HEIGHT
    body: list[str] = []
    with_sample = len(names) > len(COLOURS)
    for height, (_, number, name) in zip(heights, ordered, strict=True):
        body += [_sample(number, left, height)] if with_sample else []
        shift = SAMPLE_WIDTH if with_sample else 0.0
        body.append(svg_text(left + shift, height + 4, name, fill=series_colour(number)))
    return body


def name_list(names: Sequence[str], top: float, width: float) -> tuple[list[str], float]:
    """Return the SVG elements of a list of curve names, and the height of the list.

    Each name follows a short line in the style of its curve.

    Args:
        names: the name of every curve.
        top: y coordinate of the top of the list.
        width: width of the chart.
    """
    body: list[str] = []
    y, left = top, 4.0 + SAMPLE_WIDTH
    for number, name in enumerate(names):
        body.append(_sample(number, 4.0, y + LINE_HEIGHT / 2))
        for part in wrapped(name, width - left):
            body.append(svg_text(left, y + LINE_HEIGHT / 2 + 4, part, fill=series_colour(number)))
            y += LINE_HEIGHT + 2
    return body, y - top


def _sample(number: int, left: float, y: float) -> str:
    path = f"M{left:.1f} {y:.1f}L{left + SAMPLE_WIDTH - 4:.1f} {y:.1f}"
    return f'<path d="{path}" stroke="{series_colour(number)}" stroke-width="1.5"{series_dash(number)}/>'
