"""A self-contained HTML page with transfer tables, which compare ways to use a distilled set with a new encoder.

Cells with recall are shaded. In each column, larger numbers have a stronger shade.
"""

from __future__ import annotations

from omnidistill.report.shaded_tables import render_tables
from omnidistill.report.transfer_content import TransferContent
from omnidistill.report.transfer_table import transfer_notes, transfer_tables


def render_transfer(content: TransferContent) -> str:
    """Return an HTML page with the tables of a transfer. The same content gives the same bytes."""
    tables = transfer_tables(content)
    shaded = [(1,) if "recall" in table.columns else tuple(range(1, len(table.columns))) for table in tables]
    title = f"Transfer of {content.method}, {content.size} rows"
    return render_tables(title, list(zip(tables, shaded, strict=True)), transfer_notes(content))
