"""The rows of a table with a gain and its confidence interval, for figures that show one dot per row."""

from __future__ import annotations

from dataclasses import dataclass

from omnidistill.evaluation.intervals import Interval
from omnidistill.evaluation.run_scores import RunScores
from omnidistill.report.comparison_cells import ComparisonCells
from omnidistill.report.comparison_content import Comparison, ComparisonRow
from omnidistill.report.rivals import is_set
from omnidistill.report.transfer_content import TransferTarget

_TRANSFER_BASELINES = ("initial heads", "random rows", "group means", "all rows")


@dataclass(frozen=True)
class GainRow:
    """The gain of one row of a results table, for a figure.

    Attributes:
        label: label of the row.
        is_method: True for a synthetic set, False for a baseline.
        gain: gain retained or, in a transfer table, the share (see `direct_shares`), with its confidence interval. None
            if undefined.
    """

    label: str
    is_method: bool
    gain: Interval | None


def comparison_gains(comparison: Comparison, level: str) -> list[tuple[str, list[GainRow]]]:
    """Return (heading, gains) for each size or budget of a comparison, in the order of its table.

    The gain of a row is its gain retained, relative to heads trained on all data.

    Args:
        comparison: the comparison.
        level: recall level, such as "R@5".
    """
    return [
        (heading, [GainRow(label, row.is_method, row.gain(level)) for label, row in rows])
        for heading, rows in rows_by_size(ComparisonCells(comparison))
    ]


def rows_by_size(cells: ComparisonCells) -> list[tuple[str, list[tuple[str, ComparisonRow]]]]:
    """Return (heading, labelled rows) for each size or budget.

    Baselines that depend on neither size nor budget come first, without heading. If the comparison has only one size or
    budget, all rows are in one list without heading.
    """
    if len(set(cells.groups) - {None}) < 2:
        return [("", [(cells.label(row), row) for row in cells.rows])]
    headings = {group: "" if group is None else cells.heading(group) for group in cells.groups}
    return [
        (heading, [(cells.label(row), row) for row in cells.rows if row.group == group])
        for group, heading in headings.items()
    ]


def run_gains(scores: RunScores, level: str) -> list[GainRow]:
    """Return the gain retained of every row of an evaluation, in the order of its table.

    Args:
        scores: the scores of an evaluated run.
        level: recall level, such as "R@5".
    """
    return [GainRow(row.label, is_set(name), row.gain(level)) for name, row in scores.rows.items()]


def direct_shares(target: TransferTarget, level: str) -> list[GainRow]:
    """Return the share of every row of a transfer table. A share of 1 is as good as distilling with the new encoder.

    The improvement of a row is its recall minus the recall with random training rows. Its share is its own improvement,
    divided by the improvement of a set that was distilled with the new encoder. Random training rows have no share, so
    they are omitted.

    Args:
        target: the table of one new encoder.
        level: recall level, such as "R@5".
    """
    return [
        GainRow(row.name, not row.name.startswith(_TRANSFER_BASELINES), row.share.get(level))
        for row in target.rows
        if row.share is not None
    ]
