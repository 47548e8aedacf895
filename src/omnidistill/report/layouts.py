"""The table of a comparison as text, in one of five layouts.

* retrieval: recall, gain retained (relative to InfoNCE and, if the baseline `best` is included, to the best heads on
  all rows), difference to the best method, and cost; one block per group
* variants: mean recall over directions; methods as rows and groups as columns
* cost: seconds per stage, bytes, and number of students evaluated on validation; one block per group
* directions: recall in every direction; one block per group
* curve: gain retained; methods as rows and groups as columns

A group is a size or, if the comparison has budgets, a budget. In each group, the best recall of a method is bold. Other
methods' recalls that round to the same number are bold too, but baselines are never bold. A dagger after a method's
mean recall means that the interval of its paired difference to the best method contains 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations

from omnidistill.core.errors import InputError, nearest
from omnidistill.evaluation.intervals import Interval
from omnidistill.evaluation.run_scores import MEAN, level_number
from omnidistill.report.comparison_content import Comparison, ComparisonRow
from omnidistill.report.interval_notes import LabelledCoverage, coverage_notes
from omnidistill.report.run_table import ABSENT, arrow, human_bytes, interval, percent

FAILED = "failed"
GAIN, GAIN_OF_BEST, DIFFERENCE = "gain retained", "gain of best", "difference to best"
Columns = tuple[tuple[str, str], ...]
_DEFAULT_LEVELS = ["R@1", "R@5", "R@10"]  # used if every row failed


@dataclass(frozen=True)
class Cell:
    """The text of a cell. `best` shows it in bold, and `tied` shows a dagger after it."""

    text: str
    best: bool = False
    tied: bool = False


@dataclass(frozen=True)
class Block:
    """A block of rows under one heading; an empty heading is not shown."""

    heading: str
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class ComparisonTable:
    """A table as text.

    Attributes:
        layout: name of the layout.
        title: title of the table.
        columns: (group, name) of each column; group is "" for a column without a group. The first column names the row,
            and the others contain numbers.
        blocks: the rows, in blocks.
        notes: sentences to show below the table.
    """

    layout: str
    title: str
    columns: tuple[tuple[str, str], ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]


def comparison_table(comparison: Comparison, layout: str | None = None) -> ComparisonTable:
    """Return the table of a comparison.

    Args:
        comparison: the comparison.
        layout: name of a layout; None uses the comparison's layout.

    Raises:
        InputError: the layout is unknown, or it needs the size of the training data, which is unknown.
    """
    cells = _Cells(comparison)
    layout = comparison.layout if layout is None else layout
    if layout not in _LAYOUTS:
        raise InputError(
            f"comparison: field 'layout' is {layout!r}; allowed values: {', '.join(_LAYOUTS)}"
            f"{nearest(layout, _LAYOUTS)}"
        )
    columns, blocks = _LAYOUTS[layout](cells)
    title = f"{comparison.data.name}: {comparison.name}"
    return ComparisonTable(layout, title, columns, blocks, _notes(cells, layout, blocks))


class _Cells:
    """For all layouts: the comparison's rows, sorted by group with baselines first, and the text of their cells."""

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
        """Return the label, followed by the name of the row if another row in the group has the same label."""
        return row.label if self._namesakes[row.label, row.group] == 1 else f"{row.label} ({row.name})"

    def full_label(self, row: ComparisonRow) -> str:
        """Return the label, followed by the size or budget if the row has one."""
        return self.label(row) + ("" if row.group is None else f", {self.heading(row.group)}")

    def heading(self, group: int, of: str = " of the bytes") -> str:
        """Return the heading of a group, which states its size or budget."""
        if not self.comparison.by_budget:
            return _rows(group)
        return f"{100 * self.comparison.share(group):.3g} %{of} ({human_bytes(group)})"

    def recall(self, row: ComparisonRow, direction: str, k: str, spread: bool = True) -> Cell:
        if row.recall is None:
            return Cell(FAILED)
        recall = row.recall[direction][k]
        text = percent(recall.mean) + (f" ± {percent(recall.std)}" if spread and recall.std is not None else "")
        best = row.is_method and _as_shown(recall.mean) == self._best[row.group, direction, k]
        difference = row.difference(k) if direction == MEAN else None
        return Cell(text, best, difference is not None and difference.low <= 0 <= difference.high)

    def by_group(self, build: Callable[[ComparisonRow], list[str | Cell]]) -> tuple[Block, ...]:
        """Return one block per group. `build` returns the cells that follow the label in a row.

        If groups are budgets, the label of a method includes the number of rows of its set.
        """

        def label(row: ComparisonRow) -> str:
            if row.is_method and row.budget is not None and row.size is not None:
                return f"{self.label(row)}, {_rows(row.size)}"
            return self.label(row)

        return tuple(
            Block(
                "" if group is None else self.heading(group),
                tuple(_cells(label(row), *build(row)) for row in self.rows if row.group == group),
            )
            for group in self.groups
        )

    def by_columns(
        self, cell: Callable[[ComparisonRow, str], str | Cell], name: Callable[[ComparisonRow], str]
    ) -> tuple[Columns, tuple[Block, ...]]:
        """Return a table with one column per group and level and one row per name, with the baselines first.

        The values of a row that belongs to no group are repeated for every group.
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
                    _cells(label, *(cell(row, k) if row else ABSENT for row in rows for k in self.levels))
                )
            blocks += [Block("", tuple(table_rows))] if table_rows else []
        headings = [MEAN if group is None else self.heading(group, of="") for group in groups]
        return (("", "Method"), *((heading, k) for heading in headings for k in self.levels)), tuple(blocks)


def _retrieval(cells: _Cells) -> tuple[Columns, tuple[Block, ...]]:
    first_two = cells.levels[:2]
    pairs = [(direction, k) for direction in cells.directions for k in first_two]
    of_best = cells.levels if cells.comparison.has_best else []
    columns = (
        ("", "Method"),
        *((arrow(direction), k) for direction, k in pairs),
        *((group, k) for group in (MEAN, GAIN) for k in cells.levels),
        *((GAIN_OF_BEST, k) for k in of_best),
        (DIFFERENCE, first_two[-1]),
        ("", "seconds"),
        ("", "bytes"),
    )

    def build(row: ComparisonRow) -> list[str | Cell]:
        return [
            *(cells.recall(row, direction, k, spread=False) for direction, k in pairs),
            *(cells.recall(row, MEAN, k) for k in cells.levels),
            *(_gain(row, k) for k in cells.levels),
            *(_estimate(row, row.gain_of_best(k), "n/a") for k in of_best),
            _difference(row, first_two[-1]),
            _amount(row, row.stage_seconds.total, _in_seconds),
            _amount(row, row.bytes, human_bytes),
        ]

    return columns, cells.by_group(build)


def _variants(cells: _Cells) -> tuple[Columns, tuple[Block, ...]]:
    return cells.by_columns(lambda row, k: cells.recall(row, MEAN, k), cells.label)


def _curve(cells: _Cells) -> tuple[Columns, tuple[Block, ...]]:
    families = cells.comparison.families()
    return cells.by_columns(_gain, lambda row: families[row.method])


def _cost(cells: _Cells) -> tuple[Columns, tuple[Block, ...]]:
    stages = [("seconds", stage) for stage in ("experts", "distill", "students", "total")]
    amounts = [("", "bytes of the set"), ("", "peak memory"), ("", "students evaluated on validation")]

    def build(row: ComparisonRow) -> list[str | Cell]:
        seconds = row.stage_seconds
        stages = (seconds.experts, seconds.distill, seconds.students, seconds.total)
        return [
            *(_amount(row, stage, _in_seconds) for stage in stages),
            _amount(row, row.bytes, human_bytes),
            _amount(row, row.peak_bytes, human_bytes),
            _amount(row, row.choices, "{:,.0f}".format),
        ]

    return (("", "Method"), *stages, *amounts), cells.by_group(build)


def _directions(cells: _Cells) -> tuple[Columns, tuple[Block, ...]]:
    pairs = [(direction, k) for direction in cells.directions for k in cells.levels]
    columns = (("", "Method"), *((arrow(direction), k) for direction, k in pairs))
    return columns, cells.by_group(lambda row: [cells.recall(row, direction, k) for direction, k in pairs])


_LAYOUTS: dict[str, Callable[[_Cells], tuple[Columns, tuple[Block, ...]]]] = {
    "retrieval": _retrieval,
    "variants": _variants,
    "cost": _cost,
    "directions": _directions,
    "curve": _curve,
}
_LEGENDS = {
    "retrieval": "Recall and gain retained are in %; the difference to the best method of the {group} is in percentage "
    "points. ± is the standard deviation; brackets contain the interval.",
    "variants": "Mean recall over directions, in %; ± is the standard deviation.",
    "cost": "Seconds and bytes are for one set.",
    "directions": "Recall in %, query → gallery; ± is the standard deviation.",
    "curve": "Gain retained in %, for the mean recall over directions; brackets contain the interval.",
}


def _notes(cells: _Cells, layout: str, blocks: tuple[Block, ...]) -> tuple[str, ...]:
    comparison, group = cells.comparison, "budget" if cells.comparison.by_budget else "size"
    notes = [_LEGENDS[layout].format(group=group)]
    shown = [cell for block in blocks for row in block.rows for cell in row]
    if any(cell.best for cell in shown):
        notes.append(f"Bold: the best method of each {group}, not including baselines.")
    if any(cell.tied for cell in shown):
        notes.append(f"†: the interval of the paired difference to the best method of the {group} contains 0.")
    if layout in ("retrieval", "curve") or any(cell.tied for cell in shown):
        notes += _coverage(cells)
    if layout in ("variants", "curve") and None in cells.groups and len(cells.groups) > 1:
        notes.append(f"Rows that do not depend on the {group} are repeated in every column.")
    seeds = ", ".join(str(seed) for seed in comparison.seeds)
    notes += [f"Seeds: {seeds}; students per seed: {comparison.num_students}.", *comparison.protocol]
    for row in cells.rows:
        notes += [f"{cells.full_label(row)}, seed {failure.seed}: {failure.error}" for failure in row.failures]
    return tuple(" ".join(note.split()) for note in notes)


def _coverage(cells: _Cells) -> list[str]:
    of_kind: dict[str, list[LabelledCoverage]] = {"method": [], "reference": []}
    for row in cells.rows:
        if row.coverage is not None and row.method != "zero-shot":
            of_kind[row.kind].append((cells.full_label(row), row.coverage))
    return coverage_notes(of_kind["method"], of_kind["reference"])


def _cells(*cells: str | Cell) -> tuple[Cell, ...]:
    return tuple(Cell(cell) if isinstance(cell, str) else cell for cell in cells)


def _gain(row: ComparisonRow, k: str) -> str:
    return _estimate(row, row.gain(k), "n/a")


def _difference(row: ComparisonRow, k: str) -> str:
    return _estimate(row, row.difference(k), ABSENT, decimals=1, sign=True)


def _estimate(row: ComparisonRow, estimate: Interval | None, absent: str, decimals: int = 0, sign: bool = False) -> str:
    if estimate is None:
        return FAILED if row.recall is None else absent
    return interval(estimate, decimals, sign)


def _amount(row: ComparisonRow, amount: int | float | None, written: Callable[[int | float], str]) -> str:
    if amount is None:
        return FAILED if row.recall is None else ABSENT
    return written(amount)


def _in_seconds(seconds: int | float) -> str:
    return f"{seconds:,.1f}"


def _rows(size: int) -> str:
    return "1 row" if size == 1 else f"{size:,} rows"


def _as_shown(recall: float) -> float:
    return round(100 * recall, 1)
