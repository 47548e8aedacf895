"""Arrange the content of a crossed table in tables with text cells, and format these as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omnidistill.report.crossed_content import CrossedCell, CrossedContent, Values
from omnidistill.report.run_table import ABSENT

FAILED = "failed"
_TITLES = {
    ("table", "gain_retained"): "Gain retained",
    ("table", "recall"): "Recall",
    ("table", "improvement"): "Improvement over random rows under the same recipe",
    ("robustness", "recall"): "Robustness of the own recipe: recall of the own heads",
    ("mismatch", "recall"): "Mismatched training pairs: recall of the own heads, by share of mismatched groups",
}
_UNITS = {"recall": "%", "gain_retained": "%", "improvement": "percentage points"}
ANY_START = "="
"""Marks a cell whose recipe needs no start, so all starts of the width have the same result."""


@dataclass(frozen=True)
class CrossedRow:
    """A table row for one recipe and set, with one cell per column. A cell is None if it does not apply."""

    recipe: str
    set: str
    cells: tuple[CrossedCell | None, ...]


@dataclass(frozen=True)
class CrossedView:
    """One of the tables that a crossed comparison consists of, for example the recall of every set and model.

    Attributes:
        part: "table" (set x recipe x model), "robustness" (changed recipes) or "mismatch" (mismatched training pairs).
        measure: "recall", "gain_retained" or "improvement".
        title: title, including the unit of the values.
        columns: names of the columns.
        rows: the table rows.
    """

    part: str
    measure: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[CrossedRow, ...]

    def values(self, cell: CrossedCell) -> Values | None:
        """Return {recall level: value of this table's measure} for a cell; None if the cell has no values."""
        values: Values | None = getattr(cell, self.measure)
        return values

    def text(self, cell: CrossedCell | None, levels: Sequence[str]) -> str:
        """Return the text of a cell: the values at all recall levels, such as "24.1/39.3/46.3"."""
        if cell is None:
            return ABSENT
        if cell.error is not None:
            return FAILED
        values = self.values(cell)
        if values is None:
            return ABSENT
        mark = ANY_START if cell.any_start and self.measure == "recall" and self.part == "table" else ""
        return "/".join(self._number(values.get(level)) for level in levels) + mark

    def _number(self, value: float | None) -> str:
        if value is None:
            return "n/a"
        if self.measure == "gain_retained":
            return f"{100 * value:z.0f}"
        return f"{100 * value:+z.1f}" if self.measure == "improvement" else f"{100 * value:.1f}"


def crossed_views(content: CrossedContent) -> list[CrossedView]:
    """Return the tables of a crossed comparison. Tables without cells are omitted.

    Each table shows one measure, such as recall, of one of these parts: all combinations of set, recipe and model;
    changes to a recipe; or training with mismatched pairs.
    """
    views = []
    for (part, measure), title in _TITLES.items():
        cells = [cell for cell in content.cells if cell.part == part]
        if not cells:
            continue
        columns = tuple(dict.fromkeys(cell.column for cell in cells))
        places = {(cell.recipe, cell.set, cell.column): cell for cell in cells}
        rows = tuple(
            CrossedRow(recipe, name, tuple(places.get((recipe, name, column)) for column in columns))
            for recipe, name in dict.fromkeys((cell.recipe, cell.set) for cell in cells)
        )
        levels = "/".join(level.removeprefix("R@") for level in content.levels)
        views.append(CrossedView(part, measure, f"{title}, R@{levels} in {_UNITS[measure]}", columns, rows))
    return views


def reference_rows(content: CrossedContent) -> list[tuple[str, str, str]]:
    """Return (name, recall before training, recall after InfoNCE on all rows) of every model, as text."""
    return [
        (each.model, _recall(each.zero, content.levels), _recall(each.full, content.levels))
        for each in content.references
    ]


def to_markdown(content: CrossedContent) -> str:
    """Return all tables of a crossed comparison, and the notes, as GitHub-flavoured Markdown."""
    parts = []
    for view in crossed_views(content):
        lines = [["recipe", "set", *view.columns], ["---", "---", *["---:"] * len(view.columns)]]
        lines += [[row.recipe, row.set, *(view.text(cell, content.levels) for cell in row.cells)] for row in view.rows]
        parts.append(_markdown(view.title, lines))
    references = [["model", "before training", "InfoNCE on all rows"], ["---", "---:", "---:"]]
    references += [list(row) for row in reference_rows(content)]
    parts.append(_markdown("References, recall in %", references))
    sets = [["set", "rows", "bytes", "seconds"], ["---", "---:", "---:", "---:"]]
    sets += [[each.name, *map(_amount, (each.rows, each.bytes, each.seconds))] for each in content.sets]
    parts.append(_markdown("Sets", sets))
    return "\n\n".join(parts) + "\n\n" + "\n".join(f"- {note}" for note in notes(content)) + "\n"


def notes(content: CrossedContent) -> list[str]:
    """Return the notes below the tables: sentences about the protocol, and the errors of failed cells."""
    errors = dict.fromkeys(
        f"{cell.set} / {cell.recipe} / {cell.column}: {' '.join(cell.error.split())}"
        for cell in content.cells
        if cell.error is not None
    )
    return [*content.protocol, *errors]


def _markdown(title: str, lines: Sequence[Sequence[str]]) -> str:
    rows = ["| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines]
    return "\n".join([f"**{title}**", "", *rows])


def _recall(values: Values | None, levels: Sequence[str]) -> str:
    if values is None:
        return FAILED
    return "/".join(f"{100 * (values.get(level) or 0):.1f}" for level in levels)


def _amount(value: int | float | None) -> str:
    return FAILED if value is None else f"{value:,.0f}"
