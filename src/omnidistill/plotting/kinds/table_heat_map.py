"""Heat maps of tables: the cells of a crossed table, or recall by direction for every row of a table.

Each cell shows its value in %. Colours go from light (small) to dark (large) in one hue, so that they can be read in
grey. A cell without a value has a dash.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.evaluation.run_scores import RecallTable
from omnidistill.plotting.figure_kind import FigureKind, FigureOptions
from omnidistill.plotting.paper_figure import PaperFigure, fitted, new_figure, text_width
from omnidistill.plotting.plotted_run import PlottedRun, Source
from omnidistill.report.comparison_cells import ComparisonCells
from omnidistill.report.comparison_content import Comparison
from omnidistill.report.crossed_content import CrossedContent
from omnidistill.report.crossed_table import crossed_views
from omnidistill.report.gain_rows import rows_by_size
from omnidistill.report.migration_content import MigrationContent
from omnidistill.report.run_table import ABSENT, arrow, combine

_LINE = 0.12  # inches per line of text
_LABELS = 0.42  # of the width, for the labels of the rows
_NAME = 1.2  # inches for a line of the name of a column
_ROTATION = 40  # degrees, of the names of columns
_LARGEST = 200  # rows of a table; a taller figure could not be printed
_DARK = 0.179  # relative luminance at which black and white text have the same contrast (WCAG 2.1)


@dataclass(frozen=True)
class _HeatTable:
    """A table of values in percent; None is a missing value. The title says what the values are."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]


class TableHeatMap(FigureKind):
    """Heat maps of a crossed table (one cell per set, recipe and model), or of recall in each retrieval direction."""

    name = "heat-map"
    needs = "one crossed table, comparison or migration report, or evaluated runs on the same data"

    def accepts(self, sources: Sequence[Source]) -> bool:
        """Return whether all sources are evaluated runs, or the only source is a table of a suitable kind.

        Suitable kinds are crossed tables, comparisons and migration reports.
        """
        if len(sources) == 1 and isinstance(sources[0], CrossedContent | Comparison | MigrationContent):
            return True
        return bool(sources) and all(isinstance(source, PlottedRun) and source.scores for source in sources)

    def draw(self, sources: Sequence[Source], options: FigureOptions) -> PaperFigure:
        """Draw one panel per table. See the base class."""
        tables = _tables(sources, options)
        labels = [[fitted(name, _LABELS * options.width) for name, _ in table.rows] for table in tables]
        titles = [fitted(table.title, (1 - _LABELS) * options.width) for table in tables]
        limits = _limits(tables)
        heights = [
            sum(map(_row_height, of_table)) + _row_height(title) for of_table, title in zip(labels, titles, strict=True)
        ]
        repeated = [table for table, following in pairwise(tables) if table.columns == following.columns]
        names = sum(_names_height(table.columns) for table in tables if table not in repeated)
        figure = new_figure(options.width, sum(heights) + names)
        panels = figure.subplots(len(tables), 1, squeeze=False, height_ratios=heights).flatten().tolist()
        for axes, table, title, of_table in zip(panels, tables, titles, labels, strict=True):
            _draw_table(axes, table, of_table, limits)
            axes.set_title(title, loc="left")
            axes.set_xticklabels([] if table in repeated else [fitted(name, _NAME) for name in table.columns])
        return figure


def _tables(sources: Sequence[Source], options: FigureOptions) -> list[_HeatTable]:
    first = sources[0]
    if isinstance(first, CrossedContent):
        tables = _crossed_tables(first, options)
    elif isinstance(first, MigrationContent):
        level = options.level_of(first.levels, first.levels[0])
        tables = [_migration_table(first, level)]
    elif isinstance(first, Comparison):
        cells = ComparisonCells(first)
        level = options.level_of(cells.levels, cells.levels[0])
        tables = [
            _by_direction([(label, row.recall or {}) for label, row in rows], level, heading)
            for heading, rows in rows_by_size(cells)
        ]
    else:
        scores = combine([source.scores for source in sources if isinstance(source, PlottedRun) and source.scores])
        level = options.level_of(scores.levels, scores.levels[0])
        tables = [_by_direction([(row.label, row.recall) for row in scores.rows.values()], level)]
    if any(len(table.rows) > _LARGEST for table in tables):
        raise InputError(
            f"the table has more than {_LARGEST} rows, which is too many for a figure; plot a smaller table"
        )
    return tables


def _crossed_tables(content: CrossedContent, options: FigureOptions) -> list[_HeatTable]:
    """Return the tables that show the requested measure."""
    level = options.level_of(content.levels, content.levels[0])
    views = [view for view in crossed_views(content) if view.measure == options.measure]
    if not views:
        named = argument("measure", options.measure)
        raise InputError(f"{named}: the table {content.name!r} does not contain this measure; choose another one")
    units = {"gain_retained": "gain retained", "recall": "recall", "improvement": "improvement over random rows"}
    parts = {"table": "", "robustness": ", changed recipes", "mismatch": ", mismatched training pairs"}
    tables = []
    for view in views:
        rows = tuple(
            (
                f"{row.set}, {row.recipe}",
                tuple(None if cell is None else _percent((view.values(cell) or {}).get(level)) for cell in row.cells),
            )
            for row in view.rows
        )
        tables.append(_HeatTable(f"{units[view.measure]} at {level}, %{parts[view.part]}", view.columns, rows))
    return tables


def _migration_table(content: MigrationContent, level: str) -> _HeatTable:
    """Return recall by direction and task, as in the tables of a migration report."""
    named = {"forward": "old to new", "reverse": "new to old"}
    places = [(direction, task) for direction in named for task in content.rows[0].recall.get(direction, {})]
    rows = tuple(
        (row.name, tuple(_percent(row.recall.get(way, {}).get(task, {}).get(level)) for way, task in places))
        for row in content.rows
    )
    return _HeatTable(f"{level}, %", tuple(f"{named[way]}, {task}" for way, task in places), rows)


def _by_direction(rows: Sequence[tuple[str, RecallTable]], level: str, heading: str = "") -> _HeatTable:
    """Return recall by direction, with the mean over directions in the first column."""
    directions = list(dict.fromkeys(direction for _, recall in rows for direction in recall))
    values = tuple(
        (label, tuple(_percent(recall[way][level].mean) if way in recall else None for way in directions))
        for label, recall in rows
    )
    return _HeatTable(f"{level}, %{', ' if heading else ''}{heading}", tuple(map(arrow, directions)), values)


def _limits(tables: Sequence[_HeatTable]) -> tuple[float, float]:
    """Return the smallest and the largest value of all tables, which share one scale of colours."""
    known = [value for table in tables for _, values in table.rows for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    return low, high if high > low else low + 1.0


def _draw_table(axes: Axes, table: _HeatTable, labels: Sequence[str], limits: tuple[float, float]) -> None:
    """Draw the cells with their values."""
    low, high = limits
    cells = np.array([[np.nan if value is None else value for value in values] for _, values in table.rows])
    x, y = np.arange(len(table.columns) + 1), np.cumsum([0.0, *map(_row_height, labels)])
    middle_x, middle_y = ((x[:-1] + x[1:]) / 2).tolist(), ((y[:-1] + y[1:]) / 2).tolist()
    mesh = axes.pcolormesh(x, y, cells, cmap="Blues", vmin=low, vmax=high, edgecolors="white", linewidth=0.8)
    decimals = 0 if high - low >= 20 and "gain" in table.title else 1
    for (row, column), value in np.ndenumerate(cells):
        text, colour = ABSENT, "0.5"
        if np.isfinite(value):
            text = f"{value:z.{decimals}f}".replace("-", "−")
            colour = "white" if _luminance(mesh.to_rgba(value)) < _DARK else "black"
        axes.text(middle_x[column], middle_y[row], text, ha="center", va="center", color=colour, fontsize=5.5)
    axes.set_ylim(y[-1], 0)
    axes.set_yticks(middle_y, labels)
    axes.set_xticks(middle_x, table.columns, rotation=_ROTATION, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _names_height(columns: Sequence[str]) -> float:
    """Return the height in inches of the names of columns, which are rotated."""
    longest = max(min(text_width(name), _NAME) for name in columns)
    most_lines = max(fitted(name, _NAME).count("\n") + 1 for name in columns)
    return longest * math.sin(math.radians(_ROTATION)) + _LINE * most_lines


def _luminance(colour: Any) -> float:
    """Return the relative luminance of a colour with components red, green and blue in [0, 1] (WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def _row_height(label: str) -> float:
    """Return the height in inches of a row with this label, which may have several lines."""
    return _LINE * (label.count("\n") + 1.4)


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
