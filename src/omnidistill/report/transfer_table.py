"""Format transfer tables as text: one table per new encoder, an overview if there are several encoders, and notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from omnidistill.evaluation.intervals import Interval
from omnidistill.report.run_table import ABSENT, human_bytes
from omnidistill.report.transfer_content import TransferContent, TransferRow, TransferTarget

_COLUMNS = ("heads trained on", "recall", "over random rows", "share of direct", "size", "seconds", "encodes")
_RECIPES = {
    "anchor": "Heads are computed by ridge regression to anchors, with ridges chosen on validation",
    "sgd": "Heads are trained by SGD from the initial heads of the new encoder, with step size and number of steps "
    "chosen on validation",
}

_RUNS = "Intervals of baselines also cover the variation between their runs, if there are several."
_EXPLANATIONS = (
    "Share of direct: gain over random rows, divided by the gain of a set distilled with the new encoder.",
    "Size: files that a user of the new encoder needs, without the items.",
    "Encodes: what the new encoder must encode before heads can be trained.",
    "If you can encode all items with the new encoder, use CCA on all of them; it gives better heads.",
)


@dataclass(frozen=True)
class TransferTable:
    """A table as text: a title, the names of the columns, and the texts of every row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def transfer_tables(content: TransferContent) -> list[TransferTable]:
    """Return one table per new encoder. If there are several encoders, an overview precedes them."""
    tables = [_table(target) for target in content.targets]
    return tables if len(tables) < 2 else [_overview(content), *tables]


def transfer_markdown(content: TransferContent) -> str:
    """Return all tables and notes as GitHub-flavoured Markdown."""
    parts = []
    for table in transfer_tables(content):
        lines = [table.columns, ("---", *("---:",) * (len(table.columns) - 1)), *table.rows]
        rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
        parts.append("\n".join([f"**{table.title}**", "", *rows]))
    return "\n\n".join([*parts, "\n".join(f"- {note}" for note in transfer_notes(content))]) + "\n"


def transfer_notes(content: TransferContent) -> list[str]:
    """Return sentences about the set, the recipe, the columns and the intervals."""
    seeds, first = ", ".join(map(str, content.seeds)), content.targets[0]
    sets = "queries only" if len(content.seeds) == 1 else f"queries and {len(content.seeds)} sets"
    facts = list(dict.fromkeys(fact for target in content.targets for fact in target.facts))
    choices = "All choices were made on validation rows of the new encoder; test rows were scored once."
    return [
        f"Set: {content.method}, {content.size} rows, distilled from {content.data} (seeds {seeds}).",
        f"{_RECIPES[content.recipe]}. {choices}",
        f"Intervals are 95 % at {first.levels[0]}. For transferred and directly distilled sets, they cover {sets}.",
        _RUNS,
        *_EXPLANATIONS,
        *facts,
    ]


def _table(target: TransferTarget) -> TransferTable:
    levels = "/".join(level.removeprefix("R@") for level in target.levels)
    widths = ", ".join(f"{name} {width}" for name, width in target.widths.items())
    rows = tuple(_texts(row, target.levels) for row in target.rows)
    return TransferTable(f"{target.name} ({widths}): recall@{levels} in %", _COLUMNS, rows)


def _overview(content: TransferContent) -> TransferTable:
    first = content.targets[0]
    names = [row.name for row in first.rows]
    rows = []
    for name in names:
        cells = []
        for target in content.targets:
            row = next((each for each in target.rows if each.name == name), None)
            if row is None:
                cells.append(ABSENT)
                continue
            level = target.levels[0]
            share = None if row.share is None else row.share[level]
            cells.append(_percent(row.recall[level]) + ("" if share is None else f" ({100 * share.mean:.0f} %)"))
        rows.append((name, *cells))
    title = f"{first.levels[0]} in % on every new encoder (share of direct distillation)"
    return TransferTable(title, ("heads trained on", *(target.name for target in content.targets)), tuple(rows))


def _texts(row: TransferRow, levels: Sequence[str]) -> tuple[str, ...]:
    first = levels[0]
    recall = "/".join(_percent(row.recall[level]) for level in levels)
    interval = row.recall[first]
    if interval is not None:
        recall += f" [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
    return (
        row.name,
        recall,
        _with_interval(row.improvement, first, "+.1f"),
        _with_interval(row.share, first, ".0f"),
        ABSENT if row.bytes is None else human_bytes(row.bytes),
        f"{row.seconds:.1f}",
        row.needs,
    )


def _with_interval(values: Mapping[str, Interval | None] | None, level: str, form: str) -> str:
    if values is None:
        return ABSENT
    value = values[level]
    if value is None:
        return "n/a"
    return f"{100 * value.mean:{form}} [{100 * value.low:{form}}, {100 * value.high:{form}}]"


def _percent(interval: Interval | None) -> str:
    return "n/a" if interval is None else f"{100 * interval.mean:.1f}"
