"""Small HTML tables that show objects in notebooks. They have no scripts and no colours of their own."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def html_table(
    title: str,
    rows: Sequence[Sequence[str]],
    header: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> str:
    """Return a table as HTML. All texts are escaped.

    Args:
        title: text above the table.
        rows: the texts of every row. The first cell names the row. A row with a single cell spans all columns.
        header: names of the columns; empty for a table without a header.
        notes: sentences below the table.
    """
    columns = max([len(header), *map(len, rows)], default=1)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    parts = [f'<table><caption style="text-align:left;caption-side:top">{escape(title)}</caption>']
    parts += [f"<thead><tr>{head}</tr></thead>"] if header else []
    parts += ["<tbody>", *(_row(row, columns) for row in rows), "</tbody></table>"]
    parts += [f"<p>{'<br>'.join(map(escape, notes))}</p>"] if notes else []
    return "".join(parts)


def _row(cells: Sequence[str], columns: int) -> str:
    name, *values = cells
    span = f' colspan="{columns}"' if not values and columns > 1 else ""
    named = f'<th scope="row" style="text-align:left"{span}>{escape(name)}</th>'
    return f"<tr>{named}{''.join(f'<td>{escape(value)}</td>' for value in values)}</tr>"
