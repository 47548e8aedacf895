"""The table of a comparison as text, in one of five layouts.

The sets of a comparison are grouped by their number of rows or, if the comparison has budgets in bytes, by budget. The
layouts are:

* retrieval: recall, gain retained, difference to the best method, and cost; one block of rows per group
* variants: mean recall over directions; one row per method and one column per group
* cost: seconds per stage, bytes, and number of students evaluated on validation; one block of rows per group
* directions: recall in every direction; one block of rows per group
* curve: gain retained; one row per method and one column per group

Gain retained is the gain over the initial heads, divided by the gain of heads trained with InfoNCE on all rows. If the
baseline `best` (the best heads trained on all rows) is included, the layout "retrieval" also shows the gain retained
relative to it.

In each group, the best recall of the methods is bold, and so are recalls of other methods that round to the same
number. Baselines are never bold. A dagger after the mean recall of a method means that the interval of the paired
difference to the best method contains 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from omnidistill.core.errors import InputError, nearest
from omnidistill.evaluation.intervals import Interval
from omnidistill.evaluation.run_scores import MEAN
from omnidistill.report.comparison_cells import FAILED, Block, Cell, Columns, ComparisonCells
from omnidistill.report.comparison_content import Comparison, ComparisonRow
from omnidistill.report.interval_notes import LabelledCoverage, coverage_notes
from omnidistill.report.run_table import ABSENT, arrow, human_bytes, interval

GAIN, GAIN_OF_BEST, DIFFERENCE = "gain retained", "gain of best", "difference to best"


@dataclass(frozen=True)
class ComparisonTable:
    """A table whose cells are text.

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
        InputError: the layout is unknown, or the comparison has size budgets but does not contain the size of the
            training rows.
    """
    cells = ComparisonCells(comparison)
    layout = comparison.layout if layout is None else layout
    if layout not in _LAYOUTS:
        raise InputError(
            f"comparison: field 'layout' is {layout!r}; allowed values: {', '.join(_LAYOUTS)}"
            f"{nearest(layout, _LAYOUTS)}"
        )
    columns, blocks = _LAYOUTS[layout](cells)
    title = f"{comparison.data.name}: {comparison.name}"
    return ComparisonTable(layout, title, columns, blocks, _notes(cells, layout, blocks))


def _retrieval(cells: ComparisonCells) -> tuple[Columns, tuple[Block, ...]]:
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


def _variants(cells: ComparisonCells) -> tuple[Columns, tuple[Block, ...]]:
    return cells.by_columns(lambda row, k: cells.recall(row, MEAN, k), cells.label)


def _curve(cells: ComparisonCells) -> tuple[Columns, tuple[Block, ...]]:
    families = cells.comparison.families()
    return cells.by_columns(_gain, lambda row: families[row.method])


def _cost(cells: ComparisonCells) -> tuple[Columns, tuple[Block, ...]]:
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


def _directions(cells: ComparisonCells) -> tuple[Columns, tuple[Block, ...]]:
    pairs = [(direction, k) for direction in cells.directions for k in cells.levels]
    columns = (("", "Method"), *((arrow(direction), k) for direction, k in pairs))
    return columns, cells.by_group(lambda row: [cells.recall(row, direction, k) for direction, k in pairs])


_LAYOUTS: dict[str, Callable[[ComparisonCells], tuple[Columns, tuple[Block, ...]]]] = {
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


def _notes(cells: ComparisonCells, layout: str, blocks: tuple[Block, ...]) -> tuple[str, ...]:
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


def _coverage(cells: ComparisonCells) -> list[str]:
    of_kind: dict[str, list[LabelledCoverage]] = {"method": [], "reference": []}
    for row in cells.rows:
        if row.coverage is not None and row.method != "zero-shot":
            of_kind[row.kind].append((cells.full_label(row), row.coverage))
    return coverage_notes(of_kind["method"], of_kind["reference"])


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
