"""The rows and cells of a comparison table. All table layouts use this module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations

from omnidistill.evaluation.run_scores import MEAN, level_number
from omnidistill.report.comparison_content import Comparison, ComparisonRow
from omnidistill.report.run_table import ABSENT, human_bytes, percent

FAILED = "failed"
Columns = tuple[tuple[str, str], ...]
_DEFAULT_LEVELS = ["R@1", "R@5", "R@10"]  # used if every row failed


@dataclass(frozen=True)
class Cell:
    """The text of a table cell. It is bold if `best` is True; if `tied` is True, a dagger follows the text."""

    text: str
    best: bool = False
    tied: bool = False


@dataclass(frozen=True)
class Block:
    """A block of table rows with a common heading. An empty heading is not shown."""

    heading: str
    rows: tuple[tuple[Cell, ...], ...]


class ComparisonCells:
    """The rows of a comparison and their cells.

    A group contains the rows with the same size or budget. The rows are sorted by group; baselines come first.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.rows = sorted(comparison.rows, key=lambda row: (row.group or 0, row.is_method))
        self.groups = list(dict.fromkeys(row.group for row in self.rows))
        recall = next((row.recall for row in comparison.rows if row.recall is not None), None)
        if recall is None:
            self.directions = [f"{query}->{gallery}" for query, gallery in permutations(comparison.data.widths, 2)]
            self.levels = _DEFAULT_LEVELS
        else:
            self.directions = [direction for direction in recall if direction != MEAN]
            self.levels = sorted(recall[MEAN], key=level_number)
        self._namesakes = Counter((row.label, row.group) for row in self.rows)
        self._best: dict[tuple[int | None, str, str], float] = {}
        for row in self.rows:
            for direction, levels in (row.recall or {}).items() if row.is_method else ():
                for k, of_row in levels.items():
                    key = row.group, direction, k
                    self._best[key] = max(_as_shown(of_row.mean), self._best.get(key, 0.0))

    def label(self, row: ComparisonRow) -> str:
        """Return the label of a row, with its name in brackets if another row of the group has the same label."""
        return row.label if self._namesakes[row.label, row.group] == 1 else f"{row.label} ({row.name})"

    def full_label(self, row: ComparisonRow) -> str:
        """Return the label of a row, with its size or budget if it has one."""
        return self.label(row) + ("" if row.group is None else f", {self.heading(row.group)}")

    def heading(self, group: int, of: str = " of the bytes") -> str:
        """Return the heading of a group, such as "100 rows" or "1 % of the bytes (64 kB)"."""
        if not self.comparison.by_budget:
            return rows_label(group)
        return f"{100 * self.comparison.share(group):.3g} %{of} ({human_bytes(group)})"

    def recall(self, row: ComparisonRow, direction: str, k: str, spread: bool = True) -> Cell:
        """Return the cell for the recall of a row at level `k`, with its standard deviation if `spread` is True."""
        if row.recall is None:
            return Cell(FAILED)
        recall = row.recall[direction][k]
        text = percent(recall.mean) + (f" ± {percent(recall.std)}" if spread and recall.std is not None else "")
        best = row.is_method and _as_shown(recall.mean) == self._best[row.group, direction, k]
        difference = row.difference(k) if direction == MEAN else None
        return Cell(text, best, difference is not None and difference.low <= 0 <= difference.high)

    def by_group(self, build: Callable[[ComparisonRow], list[str | Cell]]) -> tuple[Block, ...]:
        """Return one block of table rows per group. A group consists of the table rows with the same size or budget.

        With budgets in bytes, the label of a method contains the number of rows of its set.

        Args:
            build: function that returns the cells of a row, without its label.
        """

        def label(row: ComparisonRow) -> str:
            if row.is_method and row.budget is not None and row.size is not None:
                return f"{self.label(row)}, {rows_label(row.size)}"
            return self.label(row)

        return tuple(
            Block(
                "" if group is None else self.heading(group),
                tuple(row_cells(label(row), *build(row)) for row in self.rows if row.group == group),
            )
            for group in self.groups
        )

    def by_columns(
        self, cell: Callable[[ComparisonRow, str], str | Cell], name: Callable[[ComparisonRow], str]
    ) -> tuple[Columns, tuple[Block, ...]]:
        """Return a table with one column per size (or budget) and recall level. Baselines come first.

        A table row can combine several rows of the comparison, such as those of one method at all sizes. If a baseline
        does not depend on the size, its values are repeated for every size.

        Args:
            cell: function from a row of the comparison and a recall level to a cell of the table.
            name: function from a row of the comparison to the name of its table row. All rows of the comparison with
                the same name are shown in one table row.

        Returns:
            The headings of the columns, and the blocks of table rows.
        """
        groups: list[int | None] = [group for group in self.groups if group is not None]
        groups = groups or [None]
        blocks = []
        for kind in ("reference", "method"):
            named: dict[str, dict[int | None, ComparisonRow]] = {}
            for row in self.rows:
                if row.kind == kind:
                    named.setdefault(name(row), {})[row.group] = row
            table_rows = []
            for label, by_group in named.items():
                rows = [by_group.get(group, by_group.get(None)) for group in groups]
                table_rows.append(
                    row_cells(label, *(cell(row, k) if row else ABSENT for row in rows for k in self.levels))
                )
            blocks += [Block("", tuple(table_rows))] if table_rows else []
        headings = [MEAN if group is None else self.heading(group, of="") for group in groups]
        return (("", "Method"), *((heading, k) for heading in headings for k in self.levels)), tuple(blocks)


def row_cells(*cells: str | Cell) -> tuple[Cell, ...]:
    """Return a table row. Strings are converted to plain cells."""
    return tuple(Cell(cell) if isinstance(cell, str) else cell for cell in cells)


def rows_label(size: int) -> str:
    """Format a number of rows as text, such as `1,000 rows`."""
    return "1 row" if size == 1 else f"{size:,} rows"


def _as_shown(recall: float) -> float:
    return round(100 * recall, 1)
