"""The report of a migration: tables, notes and page; texts from the data are escaped."""

from __future__ import annotations

import re

from migration_problems import small
from omnidistill.report.migration_page import render_migration
from omnidistill.report.migration_table import migration_markdown, migration_tables


def test_one_table_per_direction_without_one_way_maps_in_reverse() -> None:
    content = small().content
    forward, reverse = migration_tables(content)
    assert (forward.direction, reverse.direction) == ("forward", "reverse")
    names = [[row[0] for row in table.rows] for table in (forward, reverse)]
    assert names[0] == [row.name for row in content.rows]
    assert names[1] == [name for name in names[0] if not name.endswith("one way")]
    kit = content.rows[0].recall["reverse"]["mixed"]
    assert reverse.rows[0][-1] == "/".join(f"{100 * kit[level]:.1f}" for level in ("R@1", "R@5", "R@10"))


def test_markdown_is_a_valid_table() -> None:
    text = migration_markdown(small().content)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {7}
    assert "- Pairs: 400 train, 50 validation, 50 test (drawn by row with seed 0)." in text
    assert "The kit stores 12 rows per side (3 coded bits)" in text


def test_the_page_shows_every_value_and_escapes_names() -> None:
    content = small().content.evolve(old="<script>alert(1)</script>")
    page = render_migration(content)
    assert page == render_migration(content)
    assert page.count("<script") == 1  # of the page itself
    assert "&lt;script&gt;" in page
    for table in migration_tables(content):
        for row in table.rows:
            assert all(f">{cell}</td>" in page for cell in row[1:])
    assert len(re.findall(r'class="h10"', page)) >= 6  # the best of every column of recall
    assert "default-src 'none'" in page
