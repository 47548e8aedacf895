"""Which number of a comparison stands in which cell: its table as text, in one of five layouts.

* retrieval: recall, gain retained, difference to the best method and cost, a block for each group
* variants: methods x groups, mean recall over directions
* cost: seconds of each stage, bytes, students judged, a block for each group
* directions: every query -> gallery, a block for each group
* curve: methods x groups, gain retained

A group is a size or, where the comparison has budgets, a budget. Within a group the best recall of the methods
(references aside) is bold, all that are shown equal to it too. A dagger marks the mean recall of a method whose paired
difference to the best method has an interval that contains 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from omnidistill.core.errors import InputError, nearest
from omnidistill.report.comparison_content import MEAN, Comparison, Interval, Line, level_number, read_comparison
from omnidistill.report.run_table import ABSENT, arrow, human_bytes, interval, percent

FAILED = "failed"
GAIN, DIFFERENCE = "gain retained", "difference to best"
Columns = tuple[tuple[str, str], ...]
_LEVELS_OF_NONE = ["R@1", "R@5", "R@10"]  # shown where every line failed


@dataclass(frozen=True)
class Cell:
    """A cell as text; `best` is shown bold, `tied` by a dagger behind it."""

    text: str
    best: bool = False
    tied: bool = False


@dataclass(frozen=True)
class Block:
    """Rows under one heading; an empty heading is not shown."""

    heading: str
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class ComparisonTable:
    """A table as text. A column is (group, name), one of group "" stands alone; the first column names the row, the
    others hold numbers. The notes belong under the table.
    """

    layout: str
    title: str
    columns: tuple[tuple[str, str], ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]


def comparison_table(comparison: Mapping[str, Any], layout: str | None = None) -> ComparisonTable:
    """The table of a comparison in its own layout or in the given one.

    Raises InputError where the comparison is damaged or the layout is unknown.
    """
    cells = _Cells(read_comparison(comparison))
    layout = cells.comparison.layout if layout is None else layout
    if layout not in _LAYOUTS:
        raise InputError(
            f"comparison: field layout is {layout!r}, allowed are {', '.join(_LAYOUTS)}{nearest(layout, _LAYOUTS)}"
        )
    columns, blocks = _LAYOUTS[layout](cells)
    title = f"{cells.comparison.data.name}: {cells.comparison.name}"
    return ComparisonTable(layout, title, columns, blocks, _notes(cells, layout, blocks))


class _Cells:
    """What the layouts share: the lines in order (by group, references first), and how a cell is written."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.lines = sorted(comparison.lines, key=lambda line: (line.group or 0, line.kind == "method"))
        self.groups = list(dict.fromkeys(line.group for line in self.lines))
        recall = next((line.recall for line in comparison.lines if line.recall is not None), None)
        if recall is None:
            self.directions = [f"{query}->{gallery}" for query, gallery in permutations(comparison.data.widths, 2)]
            self.levels = _LEVELS_OF_NONE
        else:
            self.directions = [direction for direction in recall if direction != MEAN]
            self.levels = sorted(recall[MEAN], key=level_number)
        self._namesakes = Counter((line.label, line.group) for line in self.lines)
        self._best: dict[tuple[int | None, str, str], float] = {}
        for line in self.lines:
            for direction, levels in (line.recall or {}).items() if line.kind == "method" else ():
                for k, of_line in levels.items():
                    key = line.group, direction, k
                    self._best[key] = max(_as_shown(of_line.mean), self._best.get(key, 0.0))

    def label(self, line: Line) -> str:
        """The label, with the name of the line where another line of the group has the same label."""
        return line.label if self._namesakes[line.label, line.group] == 1 else f"{line.label} ({line.name})"

    def heading(self, group: int, of: str = " of the bytes") -> str:
        """What is alike within a group."""
        if not self.comparison.by_budget:
            return _rows(group)
        return f"{100 * self.comparison.share(group):.3g} %{of} ({human_bytes(group)})"

    def recall(self, line: Line, direction: str, k: str, spread: bool = True) -> Cell:
        if line.recall is None:
            return Cell(FAILED)
        recall = line.recall[direction][k]
        text = percent(recall.mean) + (f" ± {percent(recall.std)}" if spread and recall.std is not None else "")
        best = line.kind == "method" and _as_shown(recall.mean) == self._best[line.group, direction, k]
        difference = line.difference(k) if direction == MEAN else None
        return Cell(text, best, difference is not None and difference.low <= 0 <= difference.high)

    def by_group(self, row: Callable[[Line], list[str | Cell]]) -> tuple[Block, ...]:
        """One block per group; `row` gives the cells behind the label, which tells the rows that a budget bought."""

        def label(line: Line) -> str:
            if line.kind == "method" and line.budget is not None and line.size is not None:
                return f"{self.label(line)}, {_rows(line.size)}"
            return self.label(line)

        return tuple(
            Block(
                "" if group is None else self.heading(group),
                tuple(_row(label(line), *row(line)) for line in self.lines if line.group == group),
            )
            for group in self.groups
        )

    def beside(
        self, cell: Callable[[Line, str], str | Cell], name: Callable[[Line], str]
    ) -> tuple[Columns, tuple[Block, ...]]:
        """Groups side by side: a row for every name, references first; what has no group is repeated in each."""
        groups: list[int | None] = [group for group in self.groups if group is not None]
        groups = groups or [None]
        blocks = []
        for kind in ("reference", "method"):
            lines_of: dict[str, dict[int | None, Line]] = {}
            for line in self.lines:
                if line.kind == kind:
                    lines_of.setdefault(name(line), {})[line.group] = line
            rows = []
            for label, found in lines_of.items():
                lines = [found.get(group, found.get(None)) for group in groups]
                rows.append(_row(label, *(cell(line, k) if line else ABSENT for line in lines for k in self.levels)))
            blocks += [Block("", tuple(rows))] if rows else []
        headings = [MEAN if group is None else self.heading(group, of="") for group in groups]
        return (("", "Method"), *((heading, k) for heading in headings for k in self.levels)), tuple(blocks)


def _retrieval(cells: _Cells) -> tuple[Columns, tuple[Block, ...]]:
    first_two = cells.levels[:2]
    pairs = [(direction, k) for direction in cells.directions for k in first_two]
    columns = (
        ("", "Method"),
        *((arrow(direction), k) for direction, k in pairs),
        *((group, k) for group in (MEAN, GAIN) for k in cells.levels),
        (DIFFERENCE, first_two[-1]),
        ("", "seconds"),
        ("", "bytes"),
    )

    def row(line: Line) -> list[str | Cell]:
        return [
            *(cells.recall(line, direction, k, spread=False) for direction, k in pairs),
            *(cells.recall(line, MEAN, k) for k in cells.levels),
            *(_gain(line, k) for k in cells.levels),
            _difference(line, first_two[-1]),
            _amount(line, line.seconds.total, _in_seconds),
            _amount(line, line.bytes, human_bytes),
        ]

    return columns, cells.by_group(row)


def _variants(cells: _Cells) -> tuple[Columns, tuple[Block, ...]]:
    return cells.beside(lambda line, k: cells.recall(line, MEAN, k), cells.label)


def _curve(cells: _Cells) -> tuple[Columns, tuple[Block, ...]]:
    families = cells.comparison.families()
    return cells.beside(_gain, lambda line: families[line.method])


def _cost(cells: _Cells) -> tuple[Columns, tuple[Block, ...]]:
    stages = [("seconds", stage) for stage in ("experts", "distill", "students", "total")]
    amounts = [("", "bytes of the set"), ("", "peak memory"), ("", "students judged on validation")]

    def row(line: Line) -> list[str | Cell]:
        seconds = line.seconds
        stages = (seconds.experts, seconds.distill, seconds.students, seconds.total)
        return [
            *(_amount(line, stage, _in_seconds) for stage in stages),
            _amount(line, line.bytes, human_bytes),
            _amount(line, line.peak_bytes, human_bytes),
            _amount(line, line.choices, "{:,.0f}".format),
        ]

    return (("", "Method"), *stages, *amounts), cells.by_group(row)


def _directions(cells: _Cells) -> tuple[Columns, tuple[Block, ...]]:
    pairs = [(direction, k) for direction in cells.directions for k in cells.levels]
    columns = (("", "Method"), *((arrow(direction), k) for direction, k in pairs))
    return columns, cells.by_group(lambda line: [cells.recall(line, direction, k) for direction, k in pairs])


_LAYOUTS: dict[str, Callable[[_Cells], tuple[Columns, tuple[Block, ...]]]] = {
    "retrieval": _retrieval,
    "variants": _variants,
    "cost": _cost,
    "directions": _directions,
    "curve": _curve,
}
_LEGENDS = {
    "retrieval": "Recall and gain retained in %, difference to the best method of the {group} in points; ± is the "
    "standard deviation, brackets hold the interval.",
    "variants": "Mean recall over directions in %; ± is the standard deviation.",
    "cost": "Seconds and bytes are those of one set.",
    "directions": "Recall in %, query → gallery; ± is the standard deviation.",
    "curve": "Gain retained of the mean recall over directions in %; brackets hold the interval.",
}


def _notes(cells: _Cells, layout: str, blocks: tuple[Block, ...]) -> tuple[str, ...]:
    comparison, group = cells.comparison, "budget" if cells.comparison.by_budget else "size"
    notes = [_LEGENDS[layout].format(group=group)]
    shown = [cell for block in blocks for row in block.rows for cell in row]
    if any(cell.best for cell in shown):
        notes.append(f"Bold: the best method of the {group}, references aside.")
    if any(cell.tied for cell in shown):
        notes.append(f"†: the interval of the paired difference to the best method of the {group} contains 0.")
    if layout in ("variants", "curve") and None in cells.groups and len(cells.groups) > 1:
        notes.append(f"What does not depend on the {group} is repeated in every column.")
    seeds = ", ".join(str(seed) for seed in comparison.seeds)
    notes += [f"Seeds: {seeds}; students per seed: {comparison.num_students}.", *comparison.protocol]
    for line in cells.lines:
        which = cells.label(line) + ("" if line.group is None else f", {cells.heading(line.group)}")
        notes += [f"{which}, seed {failure.seed}: {failure.error}" for failure in line.failures]
    return tuple(" ".join(note.split()) for note in notes)


def _row(*cells: str | Cell) -> tuple[Cell, ...]:
    return tuple(Cell(cell) if isinstance(cell, str) else cell for cell in cells)


def _gain(line: Line, k: str) -> str:
    return _estimate(line, line.gain(k), "n/a")


def _difference(line: Line, k: str) -> str:
    return _estimate(line, line.difference(k), ABSENT, decimals=1, sign=True)


def _estimate(line: Line, estimate: Interval | None, absent: str, decimals: int = 0, sign: bool = False) -> str:
    if estimate is None:
        return FAILED if line.recall is None else absent
    return interval(estimate.model_dump(), decimals, sign)


def _amount(line: Line, amount: float | None, written: Callable[[float], str]) -> str:
    if amount is None:
        return FAILED if line.recall is None else ABSENT
    return written(amount)


def _in_seconds(seconds: float) -> str:
    return f"{seconds:,.1f}"


def _rows(size: int) -> str:
    return "1 row" if size == 1 else f"{size:,} rows"


def _as_shown(recall: float) -> float:
    return round(100 * recall, 1)
