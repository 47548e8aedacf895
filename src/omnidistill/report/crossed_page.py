"""A self-contained HTML page with heat maps of a crossed comparison (distilled sets x training recipes x models).

The shade of a cell shows its value for the first recall metric. The scale is 0 to 100 % for gain retained, and the
smallest to the largest value in the table for other measures. Texts from the data are escaped, and a content security
policy allows only the page's own style and script.
"""

from __future__ import annotations

from dataclasses import dataclass

from omnidistill.report.crossed_content import CrossedCell, CrossedContent
from omnidistill.report.crossed_table import CrossedView, crossed_views, notes, reference_rows
from omnidistill.report.page import render_template
from omnidistill.report.page_tables import NUM_SHADES
from omnidistill.report.run_table import human_bytes


@dataclass(frozen=True)
class _Table:
    """A table with the text and the shade of every cell. The shade of a cell without a value is None."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, str, list[tuple[str, int | None]]]]


def render_crossed(content: CrossedContent) -> str:
    """Return the page as HTML. The same content gives the same bytes."""
    return render_template(
        "crossed.html.jinja",
        content=content,
        tables=[_shaded(view, content) for view in crossed_views(content)],
        references=reference_rows(content),
        sizes=[
            (each.name, each.rows, None if each.bytes is None else human_bytes(each.bytes)) for each in content.sets
        ],
        notes=notes(content),
    )


def _shaded(view: CrossedView, content: CrossedContent) -> _Table:
    first = content.levels[0]
    known = [value for row in view.rows for cell in row.cells if (value := _value(view, cell, first)) is not None]
    low, high = (0.0, 1.0) if view.measure == "gain_retained" else (min(known, default=0), max(known, default=0))

    def shade(cell: CrossedCell | None) -> int | None:
        value = _value(view, cell, first)
        if value is None:
            return None
        height = (value - low) / (high - low) if high > low else 0.0
        return round(NUM_SHADES * min(max(height, 0.0), 1.0))

    rows = [
        (row.recipe, row.set, [(view.text(cell, content.levels), shade(cell)) for cell in row.cells])
        for row in view.rows
    ]
    return _Table(view.title, view.columns, rows)


def _value(view: CrossedView, cell: CrossedCell | None, level: str) -> float | None:
    values = None if cell is None else view.values(cell)
    return None if values is None else values.get(level)
