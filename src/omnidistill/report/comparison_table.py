"""Convert a comparison to a table for the terminal, to Markdown or to CSV; see `latex` for LaTeX.

Recall and gain are percentages in the terminal and in Markdown, and fractions in CSV. `layouts` defines the columns of
the tables and the text of their cells.
"""

from __future__ import annotations

import csv
import io
import re
from textwrap import wrap
from typing import TYPE_CHECKING

from omnidistill.evaluation.intervals import Interval
from omnidistill.evaluation.run_scores import MEAN
from omnidistill.report.comparison_cells import Cell
from omnidistill.report.comparison_content import Comparison
from omnidistill.report.layouts import DIFFERENCE, GAIN, GAIN_OF_BEST, ComparisonTable, comparison_table

if TYPE_CHECKING:
    import rich.table
    import rich.text

CSV_HEADER = (
    *("line", "method", "label", "kind", "size", "budget", "direction", "metric", "mean", "std"),
    *("gain_mean", "gain_low", "gain_high", "gain_of_best_mean", "gain_of_best_low", "gain_of_best_high"),
    *("difference_mean", "difference_low", "difference_high"),
    *("seconds_experts", "seconds_distill", "seconds_students", "bytes", "peak_bytes", "choices"),
)
_MARKDOWN = re.compile(r"[\\`*_{}<>|#~$&^]|(?<=\])\(")


def to_rich(comparison: Comparison, layout: str | None = None) -> rich.table.Table:
    """Return the table for a terminal.

    Columns are merged, so that the table fits into 100 characters for any number of directions and sizes. A cell of a
    merged column has several lines, such as one line per size (or budget). The layout "retrieval" omits the columns of
    individual directions.

    Args:
        comparison: the comparison.
        layout: name of a layout; None uses the comparison's layout.

    Raises:
        InputError: the layout is unknown, or the comparison has size budgets but does not contain the size of the
            training rows.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = comparison_table(comparison, layout)
    groups, stacks = _stacks(table)
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, leading=int(len(groups) > 1))
    shown.title, shown.title_justify = Text(table.title), "left"
    shown.caption, shown.caption_justify = Text("\n".join(table.notes)), "left"
    shown.add_column("Method", overflow="fold")
    if groups:
        # A group's name on two lines would not align with its numbers.
        shown.add_column("", no_wrap=True, max_width=36)
    for name, _ in stacks:
        shown.add_column(Text(name), justify="right", no_wrap=True)
    for block in table.blocks:
        shown.add_section()
        if block.heading:
            shown.add_row(Text(block.heading, style="italic"))
        for row in block.rows:
            cells = (Text("\n").join(_styled(row[place]) for place in places) for _, places in stacks)
            shown.add_row(Text(row[0].text), *([Text("\n".join(groups))] if groups else []), *cells)
    return shown


def to_markdown(comparison: Comparison, layout: str | None = None) -> str:
    """Return the table in GitHub-flavoured Markdown, followed by a list of notes. The text ends with a newline.

    Args:
        comparison: the comparison.
        layout: name of a layout; None uses the comparison's layout.

    Raises:
        InputError: the layout is unknown, or the comparison has size budgets but does not contain the size of the
            training rows.
    """
    table = comparison_table(comparison, layout)
    header = [_escape(f"{group} {name}".strip()) for group, name in table.columns]
    rows = [header, ["---", *["---:"] * (len(header) - 1)]]
    for block in table.blocks:
        if block.heading:
            rows.append([f"*{_escape(block.heading)}*", *[""] * (len(header) - 1)])
        rows += [[_marked(cell) for cell in row] for row in block.rows]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", *(f"- {_escape(note)}" for note in table.notes)]) + "\n"


def to_csv(comparison: Comparison) -> str:
    """Return all numbers as CSV, unrounded, with one record per row, direction and metric.

    Gain and difference are given only for the mean over directions. If all runs of a row failed, the row has one record
    without recall.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for row in comparison.rows:
        names = (row.name, row.method, row.label, row.kind, row.size, row.budget)
        seconds = row.stage_seconds
        costs = (seconds.experts, seconds.distill, seconds.students, row.bytes, row.peak_bytes, row.choices)
        records: list[tuple[str | float | None, ...]] = []
        for direction, levels in (row.recall or {}).items():
            for name, value in {**levels, **row.metrics.get(direction, {})}.items():
                estimates = (row.gain(name), row.gain_of_best(name), row.difference(name))
                parts = [part for estimate in estimates for part in _parts(estimate if direction == MEAN else None)]
                records.append((direction, name, value.mean, value.std, *parts))
        writer.writerows((*names, *record, *costs) for record in records or [(None,) * 13])
    return text.getvalue()


def _stacks(table: ComparisonTable) -> tuple[list[str], list[tuple[str, list[int]]]]:
    """Return which columns are merged, so that the table is narrow enough for a terminal.

    For example, the columns "R@1" of 100 rows and "R@1" of 200 rows become one column "R@1". Each of its cells has two
    lines, with the labels "100 rows" and "200 rows".

    Returns:
        The labels of the lines, and each merged column as (heading, indices of the original columns). There are no
        labels if the headings already name the lines.
    """
    places: dict[str, dict[str, int]] = {}
    for place, (group, name) in enumerate(table.columns[1:], start=1):
        places.setdefault(group, {})[name] = place
    if table.layout == "retrieval":
        difference = next(iter(places[DIFFERENCE]))
        groups, of_best = [MEAN, GAIN], ""
        if GAIN_OF_BEST in places:
            groups, of_best = [*groups, GAIN_OF_BEST], "\nof best %"
        return [], [
            *((f"{k} %\ngain %{of_best}", [places[group][k] for group in groups]) for k in places[MEAN]),
            (f"difference\nto best {difference}", [places[DIFFERENCE][difference]]),
            ("seconds\nbytes", [places[""]["seconds"], places[""]["bytes"]]),
        ]
    if table.layout == "cost":
        named = enumerate(table.columns[1:], start=1)
        return [], [("\n".join(wrap(f"{group} {name}", 12)), [place]) for place, (group, name) in named]
    levels = next(iter(places.values()), {})
    return list(places), [(k, [of_group[k] for of_group in places.values()]) for k in levels]


def _styled(cell: Cell) -> rich.text.Text:
    from rich.text import Text

    return Text(cell.text, style="bold" if cell.best else "").append("†" if cell.tied else "", style="not bold")


def _marked(cell: Cell) -> str:
    text = _escape(cell.text)
    return (f"**{text}**" if cell.best else text) + ("†" if cell.tied else "")


def _escape(text: str) -> str:
    """Return the text on one line, escaped so that Markdown shows it literally."""
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.split()))


def _parts(estimate: Interval | None) -> tuple[float | None, ...]:
    return (None, None, None) if estimate is None else (estimate.mean, estimate.low, estimate.high)
