"""An HTML page with the tables of a migration report; self-contained, without scripts.

The shade of a cell shows its recall at the first level, from the smallest to the largest value in its column. Texts
from the data are escaped, and a content security policy allows only the page's own style.
"""

from __future__ import annotations

from omnidistill.report.migration_content import MigrationContent
from omnidistill.report.migration_table import MigrationTable, migration_notes, migration_tables
from omnidistill.report.page import page_environment
from omnidistill.report.page_tables import NUM_SHADES

_TEXT_COLUMNS = 3  # name, size and bytes


def render_migration(content: MigrationContent) -> str:
    """Return the page as HTML. The same content gives the same bytes."""
    environment = page_environment()
    assert environment.loader is not None
    style, _, _ = environment.loader.get_source(environment, "page.css")
    return environment.get_template("migration.html.jinja").render(
        content=content,
        tables=[(table, _shaded(table)) for table in migration_tables(content)],
        notes=migration_notes(content),
        style=style,
    )


def _shaded(table: MigrationTable) -> list[tuple[str, list[tuple[str, int | None]]]]:
    """Return (name, cells with their shades) of every row of the table."""
    columns = range(_TEXT_COLUMNS, len(table.columns))
    values = {column: [_first(row[column]) for row in table.rows] for column in columns}

    def shade(column: int, text: str) -> int | None:
        if column < _TEXT_COLUMNS:
            return None
        low, high = min(values[column]), max(values[column])
        return round(NUM_SHADES * (_first(text) - low) / (high - low)) if high > low else 0

    return [
        (row[0], [(text, shade(column, text)) for column, text in enumerate(row[1:], start=1)]) for row in table.rows
    ]


def _first(text: str) -> float:
    return float(text.partition("/")[0])
