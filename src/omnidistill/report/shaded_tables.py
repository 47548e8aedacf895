"""A self-contained HTML page with tables whose numbers are shaded.

In each shaded column, larger numbers have a stronger shade. The number of a cell is the one at the start of its text.
Texts from the data are escaped, and a content security policy allows only the page's own style and script.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from omnidistill.report.page import render_template
from omnidistill.report.page_tables import NUM_SHADES

_NUMBER = re.compile(r"-?[0-9.]+")


@runtime_checkable
class TableOfTexts(Protocol):
    """A table of texts, with a title and names of columns."""

    @property
    def title(self) -> str:
        """Title of the table."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        ...

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The rows. Each consists of the texts of its cells, and the first text is the name of the row."""
        ...


def render_tables(title: str, tables: Sequence[tuple[TableOfTexts, Sequence[int]]], notes: Sequence[str]) -> str:
    """Return an HTML page with shaded tables. The same content gives the same bytes.

    Args:
        title: title of the page.
        tables: the tables, each with the indices of the columns to shade.
        notes: sentences below the tables.
    """
    shaded = [(table, _shaded(table, columns)) for table, columns in tables]
    return render_template("shaded_tables.html.jinja", title=title, tables=shaded, notes=notes)


def _shaded(table: TableOfTexts, columns: Sequence[int]) -> list[tuple[str, list[tuple[str, int | None]]]]:
    """Return (name, cells) of every row. A cell is a pair (text, shade).

    The shade is None if the column of the cell is not in `columns`, or if the text does not start with a number.
    """
    values = {column: [_first(row[column]) for row in table.rows] for column in columns}

    def shade(column: int, text: str) -> int | None:
        value = _first(text) if column in values else None
        if value is None:
            return None
        known = [each for each in values[column] if each is not None]
        low, high = min(known), max(known)
        return round(NUM_SHADES * (value - low) / (high - low)) if high > low else 0

    return [
        (row[0], [(text, shade(column, text)) for column, text in enumerate(row[1:], start=1)]) for row in table.rows
    ]


def _first(text: str) -> float | None:
    matched = _NUMBER.match(text)
    return None if matched is None else float(matched[0])
