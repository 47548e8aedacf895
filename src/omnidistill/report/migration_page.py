"""An HTML page with the tables of a migration report (see `shaded_tables`)."""

from __future__ import annotations

from omnidistill.report.migration_content import MigrationContent
from omnidistill.report.migration_table import migration_notes, migration_tables
from omnidistill.report.shaded_tables import render_tables

_TEXT_COLUMNS = 3  # name, size and bytes


def render_migration(content: MigrationContent) -> str:
    """Return the page as HTML. The same content gives the same bytes."""
    tables = [(table, range(_TEXT_COLUMNS, len(table.columns))) for table in migration_tables(content)]
    return render_tables(f"Migration: {content.old} to {content.new}", tables, migration_notes(content))
