"""The result of a comparison: its content, its table, and the files in which it is saved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omnidistill.core.html_table import html_table
from omnidistill.io.artifacts import write_atomic
from omnidistill.plotting import Plottable
from omnidistill.report.comparison_content import Comparison
from omnidistill.report.comparison_table import to_csv, to_markdown
from omnidistill.report.gain_figure import gain_figure
from omnidistill.report.latex import to_latex
from omnidistill.report.layouts import comparison_table


@dataclass(frozen=True, repr=False)
class Compared(Plottable):
    """The result of a comparison.

    Attributes:
        content: all measurements; the content of comparison.json.
        failures: error message of each failed cell or baseline, by the name of its folder.
        folder: the folder of the comparison; None if nothing was stored.
    """

    content: Comparison
    failures: Mapping[str, str]
    folder: Path | None = None

    def table(self, layout: str | None = None) -> str:
        """Return the table as Markdown.

        Args:
            layout: name of a layout; None uses the layout of the comparison.
        """
        return to_markdown(self.content, layout).rstrip("\n")

    def to_json(self) -> dict[str, Any]:
        """Return the content of comparison.json."""
        return self.content.to_json()

    @property
    def plot_source(self) -> Comparison:
        """The measurements from which `plot` draws intervals, a heat map, or gain retained against bytes."""
        return self.content

    def file(self, suffix: str) -> Path | None:
        """Return the path of the stored file with this suffix: .md, .csv, .tex, .json, or .svg for the figure.

        Return None if there is no such file.
        """
        if self.folder is None or (suffix == ".svg" and self.content.layout != "curve"):
            return None
        return self.folder / f"{self.content.name}{suffix}"

    def save(self, folder: str | Path) -> Compared:
        """Write the table as .json, .md, .csv and .tex; with the layout "curve", also write the figure as .svg."""
        folder, name = Path(folder), self.content.name
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / f"{name}.json", json.dumps(self.to_json(), indent=1, allow_nan=False).encode())
        for suffix, render in (("md", to_markdown), ("csv", to_csv), ("tex", to_latex)):
            write_atomic(folder / f"{name}.{suffix}", render(self.content).encode())
        if self.content.layout == "curve":
            write_atomic(folder / f"{name}.svg", gain_figure(self.content).encode())
        return replace(self, folder=folder)

    def _repr_html_(self) -> str:
        table = comparison_table(self.content)
        rows: list[tuple[str, ...]] = []
        for block in table.blocks:
            rows += [(block.heading,)] if block.heading else []
            rows += [tuple(cell.text + ("†" if cell.tied else "") for cell in row) for row in block.rows]
        header = [f"{group} {name}".strip() for group, name in table.columns]
        return html_table(table.title, rows, header, table.notes)

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"Compared({self.content.name} on {self.content.data.name}: {len(self.content.rows)} rows{failed})"
