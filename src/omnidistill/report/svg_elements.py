"""Elements of SVG charts: lines, texts, colours, and the `<svg>` element with its title and description.

Charts work on light and dark pages. Colours are `currentColor` and the CSS variables `--series-1` to `--series-6`,
which have default values. `standalone` converts a chart to an SVG file that follows the reader's colour scheme.
Coordinates are in SVG units (pixels at the natural size). The same input gives the same bytes.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from html import escape

COLOURS = ("#1f5f99", "#a8480b", "#1f7a4d", "#7a4a9e", "#7d6200", "#b0305c")
_DARK_COLOURS = ("#79b4ea", "#f0a065", "#6fcf9b", "#c6a0e8", "#d9bf4a", "#f08bb0")
_DASHES = ("", "6 4", "2 4", "10 4 2 4")
LINE_HEIGHT = 14.0
CHARACTER_WIDTH = 6.6
"""Estimated mean width of a character; the font is not known when the chart is drawn."""


def svg_chart(title: str, description: str, body: Iterable[str], width: float, height: float, name: str = "") -> str:
    """Return the `<svg>` element of a chart. Screen readers read the title and the description.

    Args:
        title, description: plain text.
        body: elements of the chart; text in them is already escaped.
        width, height: natural size.
        name: further class of the element, for the style of the page.
    """
    return (
        f'<svg class="chart{name and f" {name}"}" role="img" aria-label="{escape(title)}" '
        f'viewBox="0 0 {width:g} {height:g}" font-family="system-ui, sans-serif" font-size="12.5" fill="currentColor">'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>{''.join(body)}</svg>"
    )


def standalone(chart: str) -> str:
    """Return a chart as the content of an SVG file. The colours follow the reader's light or dark colour scheme."""
    dark = "".join(f"--series-{number}:{colour};" for number, colour in enumerate(_DARK_COLOURS, start=1))
    style = f"<style>svg{{color:#1f2328}}@media(prefers-color-scheme:dark){{svg{{color:#e6edf3;{dark}}}}}</style>"
    opened = chart.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return f"{opened.removesuffix('</svg>')}{style}</svg>\n"


def svg_line(x1: float, y1: float, x2: float, y2: float, extra: str = "") -> str:
    """Return a straight line. `extra` contains further attributes, and begins with a space if it is not empty."""
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="currentColor"{extra}/>'


def svg_text(x: float, y: float, text: str, anchor: str = "start", fill: str = "currentColor", extra: str = "") -> str:
    """Return a text element, and escape `text`. `extra` contains further attributes, as in `svg_line`."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}"{extra}>{escape(text)}</text>'


def text_width(text: str) -> float:
    """Return the estimated width of a text."""
    return CHARACTER_WIDTH * len(text)


def wrapped(text: str, width: float) -> list[str]:
    """Break a text into lines with an estimated width of at most `width`. Words longer than a line are broken too."""
    return textwrap.wrap(text, max(1, int(width / CHARACTER_WIDTH))) or [""]


def series_colour(number: int) -> str:
    """Return the colour of a curve, given its number. Numbers start at 0, and the six colours repeat."""
    index = number % len(COLOURS)
    return f"var(--series-{index + 1}, {COLOURS[index]})"


def series_dash(number: int) -> str:
    """Return the attribute for the dash pattern of the curve with this number; "" for the first six curves."""
    dash = _DASHES[number // len(COLOURS) % len(_DASHES)]
    return f' stroke-dasharray="{dash}"' if dash else ""
