"""The result of `crossed`: its content, tables and page."""

from __future__ import annotations

from dataclasses import dataclass

from omnidistill.core.html_table import html_table
from omnidistill.experiments.saved_tables import SavedTables
from omnidistill.plotting import Plottable
from omnidistill.report.crossed_content import CrossedContent
from omnidistill.report.crossed_page import render_crossed
from omnidistill.report.crossed_table import crossed_views, to_markdown


@dataclass(frozen=True, repr=False)
class CrossedTable(SavedTables[CrossedContent], Plottable):
    """The result of `crossed`.

    Attributes:
        content: all measurements; the content of crossed.json.
        failures: {title of a result: error message} for all results that could not be computed.
        folder: the folder of the table; None if nothing was stored.
    """

    @property
    def name(self) -> str:
        """Name of the table and of its files."""
        return self.content.name

    @property
    def plot_source(self) -> CrossedContent:
        """The scores of all cells of the table, from which `plot` draws a heat map."""
        return self.content

    def table(self) -> str:
        """Return all tables as Markdown."""
        return to_markdown(self.content).rstrip("\n")

    def page(self) -> str:
        """Return the heat maps as a self-contained HTML page."""
        return render_crossed(self.content)

    def _repr_html_(self) -> str:
        tables = []
        for view in crossed_views(self.content):
            cells = [[view.text(cell, self.content.levels) for cell in row.cells] for row in view.rows]
            rows = [(f"{row.set}, {row.recipe}", *texts) for row, texts in zip(view.rows, cells, strict=True)]
            tables.append(html_table(view.title, rows, ("set, recipe", *view.columns)))
        return "".join(tables)

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"CrossedTable({self.content.data.name}: {len(self.content.cells)} cells{failed})"
