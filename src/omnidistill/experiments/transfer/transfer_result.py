"""The result of `transfer`: its content, tables and page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.core.html_table import html_table
from omnidistill.experiments.saved_tables import SavedTables
from omnidistill.plotting import Plottable
from omnidistill.report.transfer_content import TransferContent
from omnidistill.report.transfer_page import render_transfer
from omnidistill.report.transfer_table import transfer_markdown, transfer_tables

NAME = "transfer"


@dataclass(frozen=True, repr=False)
class Transfer(SavedTables[TransferContent], Plottable):
    """The result of `transfer`.

    Attributes:
        content: all measurements; the content of transfer.json.
        failures: always empty, because any error ends the computation.
        folder: the folder of the table; None if nothing was stored.
    """

    @property
    def name(self) -> str:
        """Name of the files, without suffix."""
        return NAME

    @property
    def plot_source(self) -> TransferContent:
        """The measurements that `plot` draws: how much each row improves on random training rows.

        The plot shows (row - random) / (direct - random), with a confidence interval. The three terms are recalls: of
        the row, of random training rows, and of a set that was distilled with the new encoder.
        """
        return self.content

    def table(self) -> str:
        """Return one table per new encoder and, if there are several, an overview, as Markdown."""
        return transfer_markdown(self.content).rstrip("\n")

    def page(self) -> str:
        """Return the tables as a self-contained HTML page."""
        return render_transfer(self.content)

    def _repr_html_(self) -> str:
        return "".join(html_table(each.title, each.rows, each.columns) for each in transfer_tables(self.content))

    def __repr__(self) -> str:
        names = ", ".join(target.name for target in self.content.targets)
        return f"Transfer({self.content.method}, {self.content.size} rows: {names})"


def require_output(folder: Path, force: bool) -> None:
    """Check that the table can be written to a folder.

    Raises:
        InputError: the path is a file, or the folder already contains a table and `force` is False.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; choose a folder")
    if (path := folder / f"{NAME}.json").exists() and not force:
        raise InputError(
            f"{path}: already exists; choose another folder, or use {argument('force', True)} to replace the table"
        )
