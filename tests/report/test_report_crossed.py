"""Tables and page of a crossed table, from content that is written by hand."""

from __future__ import annotations

import re
from typing import Any

import pytest

from omnidistill.core.errors import InputError
from omnidistill.report.comparison_content import ComparisonData
from omnidistill.report.crossed_content import CrossedCell, CrossedContent, CrossedReference, CrossedSet
from omnidistill.report.crossed_page import render_crossed
from omnidistill.report.crossed_table import crossed_views, to_markdown


def cell(name: str, column: str, recall: float | None, **more: Any) -> CrossedCell:
    values = None if recall is None else {"R@1": recall, "R@5": recall + 0.1}
    gain = None if recall is None else {"R@1": 2 * recall, "R@5": None}
    given = {"part": "table", "recipe": "own", "model": column, "recall": values, "gain_retained": gain, **more}
    return CrossedCell(set=name, column=column, **given)


CONTENT = CrossedContent(
    name="crossed",
    heads="0",
    data=ComparisonData(name="<b>data</b>", widths={"a": 3, "b": 4}),
    seed=0,
    levels=("R@1", "R@5"),
    sets=(
        CrossedSet(name="one", rows=8, bytes=2000, seconds=1.5),
        CrossedSet(name="two", rows=None, bytes=None, seconds=None),
    ),
    references=(CrossedReference(model="own", zero={"R@1": 0.1, "R@5": 0.2}, full=None),),
    cells=(
        cell("one", "own", 0.25, any_start=True, improvement={"R@1": 0.05, "R@5": -0.012}),
        cell("one", "random", 0.5),
        cell("two", "own", None, error="no | heads"),
        cell("one", "steps x 2", 0.4, part="robustness"),
    ),
    protocol=("One seed.",),
)


def test_tables_have_the_rows_recipe_and_set() -> None:
    text = to_markdown(CONTENT)
    rows = [line for line in text.splitlines() if line.startswith("| own | ")]
    assert rows == [
        "| own | one | 50/n/a | 100/n/a |",
        "| own | two | failed | – |",
        "| own | one | 25.0/35.0= | 50.0/60.0 |",
        "| own | two | failed | – |",
        "| own | one | +5.0/-1.2 | – |",
        "| own | two | failed | – |",
        "| own | one | 40.0/50.0 |",
        "| own | 10.0/20.0 | failed |",
    ]
    assert "| two | failed | failed | failed |" in text
    assert text.endswith("- One seed.\n- two / own / own: no | heads\n")
    assert [view.measure for view in crossed_views(CONTENT)] == ["gain_retained", "recall", "improvement", "recall"]


def test_the_page_shades_values_and_escapes_names() -> None:
    page = render_crossed(CONTENT)
    assert page == render_crossed(CONTENT)
    assert "<b>data</b>" not in page
    assert "&lt;b&gt;data&lt;/b&gt;" in page
    shades = re.findall(r'<td class="h(\d+)">([^<]+)</td>', page)
    assert shades == [
        *(("5", "50/n/a"), ("10", "100/n/a")),  # gain from 0 to 100 %
        *(("0", "25.0/35.0="), ("10", "50.0/60.0")),  # recall from the smallest to the largest
        ("0", "+5.0/-1.2"),
        ("0", "40.0/50.0"),
    ]
    assert page.count("<td>failed</td>") == 6
    assert page.count("<script") == 1  # of the page itself


def test_content_survives_the_file_and_damage_is_one_line() -> None:
    tree = CONTENT.to_json()
    assert CrossedContent.from_json(tree, "crossed.json").to_json() == tree
    for damaged in ({**tree, "schema": 2}, {**tree, "cells": [{"part": "table"}]}):
        with pytest.raises(InputError, match=r"^crossed\.json: invalid content: field [^\n]+$"):
            CrossedContent.from_json(damaged, "crossed.json")
