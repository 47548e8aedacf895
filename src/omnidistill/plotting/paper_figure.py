"""The style of all figures, and a matplotlib figure that is always drawn and saved in this style.

The style is made for two-column papers: text of 7 pt, thin lines, and colours that readers with colour-vision
deficiency can distinguish (Okabe and Ito, "Color Universal Design", 2008). Series also differ in markers and dashes, so
figures can be read in grey. The settings of the user's matplotlibrc have no effect.

Files are deterministic: they contain no dates, and ids in SVG files depend on the content only. PDF files embed the
font as TrueType (type 42), because many publishers reject type 3. SVG files contain text as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from textwrap import wrap
from typing import Any, Literal

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter

from omnidistill.core.printable import printable
from omnidistill.report.axes import log_axis

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # part of matplotlib, so figures are equal on every machine
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 2.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "grid.color": "0.88",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "text.parse_math": False,  # names from data may contain dollar signs
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "omnidistill",
    "savefig.dpi": 300,
    "figure.dpi": 200,
}
FORMATS: dict[str, dict[str, None]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
    "png": {},
}
"""{file format: metadata to omit}, for every format in which figures can be saved."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "0.45"
LEGEND_LINE = 0.14
"""Height in inches of a line of a legend."""
_CHARACTER = 0.055  # inches per character of text; few texts are wider
_SAMPLE = 0.45  # inches for the line next to a name in a legend, and the space around both
_MARKERS = "osD^vXP"
_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)))


class PaperFigure(Figure):
    """A matplotlib Figure. `savefig` and notebooks use the style of this module."""

    def savefig(self, fname: Any, **options: Any) -> None:
        """Save the figure, as `matplotlib.figure.Figure.savefig` does, in the style of this module.

        Args:
            fname: path or binary file.
            options: further options of matplotlib, such as `format` and `dpi`.
        """
        with paper_style():
            super().savefig(fname, **options)

    def encoded(self, file_format: str) -> bytes:
        """Return the figure in one of the `FORMATS`, as the bytes of a file. Equal figures give equal bytes."""
        buffer = BytesIO()
        self.savefig(buffer, format=file_format, metadata=FORMATS[file_format])
        return buffer.getvalue()

    def _repr_png_(self) -> bytes:
        return self.encoded("png")


@contextmanager
def paper_style() -> Iterator[None]:
    """Context manager that applies the style only to figures that are drawn or saved inside it."""
    with matplotlib.style.context(["default", STYLE]):
        yield


def new_figure(width: float, height: float) -> PaperFigure:
    """Return an empty figure whose parts are arranged without overlap.

    Args:
        width, height: size in inches.
    """
    return PaperFigure(figsize=(width, height), layout="constrained")


@dataclass(frozen=True)
class SeriesStyle:
    """Colour, marker and dashes of a series. Any two of the first 28 series differ in marker or dashes."""

    colour: str
    marker: str
    dash: Any

    @classmethod
    def of(cls, number: int) -> SeriesStyle:
        """Return the style of a series, given its number from 0."""
        cycle = len(COLOURS)
        return cls(
            COLOURS[number % cycle],
            _MARKERS[number % cycle],
            _DASHES[(number + 2 * (number // cycle)) % len(_DASHES)],
        )


def use_log_scale(axes: Axes, name: Literal["x", "y"]) -> None:
    """Give the axis "x" or "y" a logarithmic scale. A narrow range also gets labels between powers of ten."""
    axes.set(**{f"{name}scale": "log"})
    low, high = getattr(axes, f"get_{name}lim")()
    ticks = [(value, text) for value, text in log_axis(low, high, 0.0, 1.0).ticks if low <= value <= high]
    axis = getattr(axes, f"{name}axis")
    axis.set_major_locator(FixedLocator([value for value, _ in ticks]))
    axis.set_major_formatter(FixedFormatter([text for _, text in ticks]))
    axis.set_minor_formatter(NullFormatter())


def text_width(text: str) -> float:
    """Return an estimate of the width of a text in inches. It is rarely too small."""
    return _CHARACTER * len(text)


def fitted(text: str, width: float) -> str:
    """Return a text in lines of at most `width` inches, with control characters as escapes."""
    return "\n".join(wrap(printable(text), max(8, int(width / _CHARACTER))))


@dataclass(frozen=True)
class LegendLayout:
    """Columns of a legend below or above a figure. Long names are broken into several lines, so that none is cut.

    Attributes:
        texts: {name of a series: the same name, broken into lines that fit into the legend}.
        num_columns: number of columns.
        num_lines: height of the legend in lines of text.
    """

    texts: dict[str, str]
    num_columns: int
    num_lines: int

    @classmethod
    def of(cls, names: Sequence[str], width: float) -> LegendLayout:
        """Return the layout of a legend.

        Args:
            names: names of the series.
            width: width of the legend in inches.
        """
        texts = {name: fitted(name, width - _SAMPLE) for name in names}
        lines = [line for text in texts.values() for line in text.splitlines()]
        column = _CHARACTER * max(map(len, lines), default=1) + _SAMPLE
        num_columns = max(1, min(len(texts), int(width / column)))
        tallest = max((text.count("\n") + 1 for text in texts.values()), default=1)
        return cls(texts, num_columns, -(-len(texts) // num_columns) * tallest)
