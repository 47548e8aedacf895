"""A figure with one panel per table. A panel lists the rows of its table, next to space for dots."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from matplotlib.axes import Axes

from omnidistill.core.errors import InputError
from omnidistill.plotting.paper_figure import PaperFigure, fitted, new_figure

_LINE, _MARGIN = 0.115, 0.55  # inches: height of half a row, and space above and below a panel
_LABELS = 0.44  # of the width, for the labels of the rows
_TALLEST = 200.0  # inches, the limit of PDF


def row_panels(
    panels: Sequence[tuple[str, Sequence[str]]], width: float, *, share_x: bool, extra: float = 0.0
) -> tuple[PaperFigure, list[tuple[Axes, list[float]]]]:
    """Return a figure with empty panels, and for every panel its axes and the vertical positions of its rows.

    Args:
        panels: (title, labels of the rows) of every panel. A label that needs several lines makes its row taller.
        width: width of the figure in inches.
        share_x: whether all panels have the same horizontal axis.
        extra: height in inches of a legend below the panels.

    Raises:
        InputError: the figure would be taller than a PDF page can be.
    """
    labels = [[fitted(label, _LABELS * width) for label in of_panel] for _, of_panel in panels]
    titles = [fitted(title, (1 - _LABELS) * width) for title, _ in panels]
    lines = [[label.count("\n") + 1.5 for label in of_panel] for of_panel in labels]
    heights = [sum(of_panel) for of_panel in lines]
    height = (sum(heights) + sum(title.count("\n") for title in titles)) * _LINE + _MARGIN * len(panels) + extra
    if height > _TALLEST:
        raise InputError(
            f"a figure of {sum(map(len, labels)):,} rows would be {height:.0f} inches tall, but the limit is "
            f"{_TALLEST:.0f} inches; plot a smaller table or fewer tables"
        )
    figure = new_figure(width, height)
    grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights, sharex=share_x).flatten().tolist()
    places = [[end - each / 2 for end, each in zip(accumulate(rows), rows, strict=True)] for rows in lines]
    for axes, title, of_panel, at, bottom in zip(grid, titles, labels, places, heights, strict=True):
        axes.set_title(title, loc="left")
        axes.set_yticks(at, of_panel)
        axes.set_ylim(bottom, 0)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
    return figure, list(zip(grid, places, strict=True))
