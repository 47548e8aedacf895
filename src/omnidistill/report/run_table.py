"""The score table of an evaluation for the terminal, Markdown and CSV, with a row for the set and one per baseline.

Recall and gain are fractions in the CSV file and percentages in the other tables. The gain of a row is its recall minus
the recall of the initial heads. "Gain retained" is the gain of a row as a share of the gain of the row `full` (heads
trained with InfoNCE on all rows), or "n/a" if the gain of `full` is not above noise. "Gain of best" is the same share
for the row `best` (the best heads trained on all rows), and is omitted if the table has no such row.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omnidistill.core.errors import InputError
from omnidistill.evaluation.intervals import Interval
from omnidistill.evaluation.metrics import RANKS, gallery_facts
from omnidistill.evaluation.run_scores import MEAN, RowScores, RunScores, Spread
from omnidistill.report.interval_notes import coverage_notes, coverages

if TYPE_CHECKING:
    import rich.table

ABSENT = "–"
CSV_HEADER = (
    *("line", "direction", "metric", "mean", "std", "gain_mean", "gain_low", "gain_high"),
    *("gain_of_best_mean", "gain_of_best_low", "gain_of_best_high"),
)
_OWN_ROWS = ("distilled", "distilled_alone", "full_own")
_SHARED_ROWS = ("zero_shot", "full")
_RECALL_TOLERANCE = 5e-4


@dataclass(frozen=True)
class TextTable:
    """A table whose cells are text. The first `num_labels` columns name the row, and the others contain numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_labels: int = 1


def score_rows(scores: RunScores) -> TextTable:
    """Return the score table, with recall, gain retained, time and size in each row.

    Recall is the mean over directions, in % ± standard deviation over seeds.

    Args:
        scores: the scores of an evaluated run.
    """
    levels = [*scores.levels, *scores.undefined]
    of_best = levels if scores.has_best else []
    gains = (*(f"gain retained {k}" for k in levels), *(f"gain of best {k}" for k in of_best))
    header = ("Method", *(f"{k} %" for k in levels), *gains, "seconds", "bytes")
    rows = tuple(
        (
            row.label,
            *("n/a" if k in scores.undefined else _recall_cell(row.recall[MEAN].get(k)) for k in levels),
            *(_gain_cell(row.gain(k)) for k in levels),
            *(_gain_cell(row.gain_of_best(k)) for k in of_best),
            ABSENT if row.seconds is None else f"{row.seconds:,.1f}",
            ABSENT if row.bytes is None else human_bytes(row.bytes),
        )
        for row in scores.rows.values()
    )
    return TextTable(header, rows)


def metric_rows(scores: RunScores) -> TextTable | None:
    """Return the table of all metrics except recall, as means over directions; None if there are no such metrics.

    Ranks are positions in the gallery (1 is best). The other metrics are in % ± standard deviation over seeds.
    """
    names = list(next((row.metrics[MEAN] for row in scores.rows.values() if row.metrics), {}))
    if not names:
        return None
    header = ("Method", *(name if name in RANKS else f"{name} %" for name in names))
    rows = tuple(
        (row.label, *(_metric_cell(name, row.metrics.get(MEAN, {}).get(name)) for name in names))
        for row in scores.rows.values()
    )
    return TextTable(header, rows)


def scoring_facts(scores: RunScores) -> list[str]:
    """Return the notes below a table, on queries, galleries, bytes and intervals; [] for scores from version 0.1."""
    facts = gallery_facts(scores.gallery, scores.items, scores.undefined) if scores.items else []
    without = [row.label for row in scores.rows.values() if row.needs_start is False]
    facts += bytes_facts(scores.bytes.initial_heads, without)
    return [*facts, *coverage_notes(*coverages(scores))]


def bytes_facts(initial_heads: int | None, without: Sequence[str]) -> list[str]:
    """Return sentences that explain which files the bytes in a table include; [] if `initial_heads` is None.

    Args:
        initial_heads: size of the files of the initial heads in bytes; None if it is not recorded.
        without: labels of the rows that do not need the initial heads.
    """
    if initial_heads is None:
        return []
    other = f", except for: {'; '.join(without)}" if without else ""
    return [
        "Bytes: all files that a receiver needs to train on a set or to use heads; for all rows, the float32 features.",
        f"Not included: the initial heads ({human_bytes(initial_heads)}). A receiver needs them as well{other}.",
    ]


def metrics_to_rich(scores: RunScores) -> rich.table.Table | None:
    """Return the table of all metrics except recall, for a terminal; None if there are no such metrics."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    metrics = metric_rows(scores)
    if metrics is None:
        return None
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    shown.add_column("Method", overflow="fold")
    for name in metrics.header[1:]:
        shown.add_column(Text(name.replace(" %", "\n%")), justify="right", no_wrap=True)
    for row in metrics.rows:
        shown.add_row(*map(Text, row))
    return shown


def to_rich(scores: RunScores) -> rich.table.Table:
    """Return the score table for a terminal.

    To fit into 80 characters, each cell shows the gain below the recall, and the bytes below the seconds.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    levels = [*scores.levels, *scores.undefined]
    title = Text(f"{scores.data.name}: mean recall over directions, test split")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title=title, title_justify="left")
    table.caption, table.caption_justify = Text("\n".join(scoring_facts(scores))), "left"
    table.add_column("Method", overflow="fold")
    of_best = "\nof best %" if scores.has_best else ""
    for name in (*(f"{k} %\ngain %{of_best}" for k in levels), "seconds\nbytes"):
        table.add_column(Text(name), justify="right", no_wrap=True)
    for label, *cells in score_rows(scores).rows:
        numbers, costs = [cell.removesuffix(" %") for cell in cells[:-2]], cells[-2:]
        stacked = [numbers[place :: len(levels)] for place in range(len(levels))]
        table.add_row(Text(label), *(Text("\n".join(column)) for column in (*stacked, costs)))
    return table


def to_markdown(scores: RunScores) -> str:
    """Return the score table, a list of notes, and the table of other metrics in GitHub-flavoured Markdown.

    The text ends with a newline.
    """
    facts, metrics = scoring_facts(scores), metric_rows(scores)
    parts = [_markdown_table(score_rows(scores))]
    parts += ["".join(f"- {fact}\n" for fact in facts)] if facts else []
    parts += [_markdown_table(metrics)] if metrics is not None else []
    return "\n".join(parts)


def _markdown_table(table: TextTable) -> str:
    rule = ["---" if number < table.num_labels else "---:" for number in range(len(table.header))]
    rows = [table.header, rule, *table.rows]
    return "".join("| " + " | ".join(_markdown_cell(cell) for cell in row) + " |\n" for row in rows)


def to_csv(scores: RunScores) -> str:
    """Return all metrics as CSV, unrounded, with one record per row, direction and metric.

    Gains are given only for the mean over directions.

    Args:
        scores: the scores of an evaluated run.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for name, row in scores.rows.items():
        for direction, levels in row.recall.items():
            for metric, value in {**levels, **row.metrics.get(direction, {})}.items():
                gains = (row.gain(metric), row.gain_of_best(metric)) if direction == MEAN else (None, None)
                ends = (end for gain in gains for end in _ends(gain))
                numbers = ("" if number is None else repr(number) for number in (value.mean, value.std, *ends))
                writer.writerow((name, direction, metric, *numbers))
    return text.getvalue()


def combine(runs: Sequence[RunScores]) -> RunScores:
    """Combine several runs on the same data: return the scores of the first run, with rows added from the other runs.

    Each further run adds at most three rows: students trained on its set, students trained on its set without initial
    heads, and heads trained on all rows with the objective of the run. A row is not added if the table already has a
    row with the same label and the same recall.

    Args:
        runs: one or more evaluated runs.

    Raises:
        InputError: no run is given, or the runs were not evaluated on the same data with the same baselines.
    """
    if not runs:
        raise InputError("report: no scores to combine; pass the scores of at least one run")
    rows = dict(runs[0].rows)
    for number, scores in enumerate(runs[1:], start=2):
        _require_same_baselines(runs[0], scores, number)
        for own in _OWN_ROWS:
            if own not in scores.rows or any(_is_same_row(row, scores.rows[own]) for row in rows.values()):
                continue
            name = f"{own} ({scores.method})"
            rows[name if name not in rows else f"{name} {number}"] = scores.rows[own]
    return runs[0].evolve(rows=rows)


def percent(fraction: float, decimals: int = 1, sign: bool = False) -> str:
    """Convert a fraction to percent, as text without a % sign and with a typographic minus sign."""
    text = f"{100 * fraction:{'+' if sign else ''}.{decimals}f}"
    return (text.lstrip("+-") if float(text) == 0 else text).replace("-", "−")


def interval(estimate: Interval, decimals: int = 0, sign: bool = False) -> str:
    """Return `mean [low, high]` in percent, without a % sign."""
    mean, low, high = (percent(part, decimals, sign) for part in (estimate.mean, estimate.low, estimate.high))
    return f"{mean} [{low}, {high}]"


def human_bytes(count: int | float) -> str:
    """Return a number of bytes in decimal units, such as 123.5 kB for 123456."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:,.1f} TB"


def arrow(direction: str) -> str:
    """Return a direction for display: `image → text` for `image->text`."""
    return direction.replace("->", " → ")


def _ends(gain: Interval | None) -> tuple[float | None, ...]:
    return (None, None, None) if gain is None else (gain.mean, gain.low, gain.high)


def _recall_cell(recall: Spread | None) -> str:
    if recall is None:
        return ABSENT
    return percent(recall.mean) + ("" if recall.std is None else f" ± {percent(recall.std)}")


def _metric_cell(name: str, value: Spread | None) -> str:
    if value is None or name not in RANKS:
        return _recall_cell(value)
    return f"{value.mean:,.1f}" + ("" if value.std is None else f" ± {value.std:,.1f}")


def _gain_cell(gain: Interval | None) -> str:
    return "n/a" if gain is None else f"{interval(gain)} %"


def _markdown_cell(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _is_same_row(left: RowScores, right: RowScores) -> bool:
    return left.label == right.label and left.recall == right.recall


def _require_same_baselines(first: RunScores, other: RunScores, number: int) -> None:
    """Check that two runs have the same data and the same baselines.

    Both runs must have the same recall for the initial heads, and the same recall for the heads trained on all rows.
    """
    for field in ("name", "widths", "rows"):
        left, right = getattr(first.data, field), getattr(other.data, field)
        if left != right:
            raise InputError(
                f"report: the runs were evaluated on different data, because data.{field} is {right!r} in run "
                f"{number} but {left!r} in run 1; combine only runs on the same data"
            )
    for name in _SHARED_ROWS:
        recalls = other.rows[name].recall[MEAN]
        for k, recall in first.rows[name].recall[MEAN].items():
            mean = recalls[k].mean if k in recalls else math.nan
            if not abs(recall.mean - mean) <= _RECALL_TOLERANCE:
                raise InputError(
                    f"report: the runs cannot be combined, because {k} of the baseline '{name}' is {mean:.4f} in run "
                    f"{number} but {recall.mean:.4f} in run 1; evaluate both runs with the same heads, seeds and "
                    "evaluation settings"
                )
