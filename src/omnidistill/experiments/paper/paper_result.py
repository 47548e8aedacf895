"""The result of `paper`: our tables, next to the numbers that the HoPA paper prints."""

from __future__ import annotations

from dataclasses import dataclass

from omnidistill.experiments.saved_tables import SavedTables
from omnidistill.plotting import Plottable
from omnidistill.report.paper_content import PaperContent
from omnidistill.report.paper_page import render_paper
from omnidistill.report.paper_table import to_markdown

NAME = "paper"
"""Name of the files."""


@dataclass(frozen=True, repr=False)
class PaperTables(SavedTables[PaperContent], Plottable):
    """The tables of the HoPA paper, computed on given features.

    Attributes:
        content: all numbers; the content of paper.json.
        failures: error message of each failed method or baseline. The key names the table, the dataset and the folder.
        folder: the folder of the tables; None if nothing was stored.
    """

    @property
    def name(self) -> str:
        """Name of the files, "paper"."""
        return NAME

    @property
    def plot_source(self) -> PaperContent:
        """The numbers of all tables, from which `plot` draws our recall next to the printed one."""
        return self.content

    def table(self) -> str:
        """Return all tables as Markdown."""
        return to_markdown(self.content).rstrip("\n")

    def page(self) -> str:
        """Return all tables as a self-contained HTML page."""
        return render_paper(self.content)

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"PaperTables({', '.join(section.title for section in self.content.sections)}{failed})"
