"""Format a migration report: one table per direction, and notes that explain the columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from omnidistill.report.migration_content import MigrationContent, MigrationRow
from omnidistill.report.run_table import ABSENT, human_bytes

_MIXED = (
    "A query is a hit if its own item is found. In the mixed index, a random half of the items have a mapped vector, "
    "and the others a vector of the target encoder; each item is searched with its other vector."
)
_LOW_RANK = (
    'Low-rank maps have the bytes of the kit: "both ways" shares them between both directions, "one way" spends all on '
    "the forward map. Maps of all pairs and random pairs are stored in float32."
)
_DIRECTIONS = {"forward": ("old", "new"), "reverse": ("new", "old")}


@dataclass(frozen=True)
class MigrationTable:
    """The table of a migration report for one direction (old to new embeddings, or new to old).

    Attributes:
        direction: "forward" or "reverse".
        title: title of the table.
        columns: names of the columns.
        rows: the texts of every row.
    """

    direction: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def migration_tables(content: MigrationContent) -> list[MigrationTable]:
    """Return the tables of both directions."""
    levels = "/".join(level.removeprefix("R@") for level in content.levels)
    tables = []
    for direction, (source, target) in _DIRECTIONS.items():
        columns = (
            "map",
            "rows or rank",
            "size",
            f"{source} queries, {target} index",
            f"{target} queries, mapped {source} index",
            "mixed index",
        )
        rows = tuple(_texts(row, direction, content.levels) for row in content.rows if direction in row.recall)
        title = f"{source.capitalize()} to {target}: recall@{levels} on test pairs, in %"
        tables.append(MigrationTable(direction, title, columns, rows))
    return tables


def migration_markdown(content: MigrationContent) -> str:
    """Return both tables and the notes as GitHub-flavoured Markdown."""
    parts = []
    for table in migration_tables(content):
        lines = [table.columns, ("---", *("---:",) * (len(table.columns) - 1)), *table.rows]
        rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
        parts.append("\n".join([f"**{table.title}**", "", *rows]))
    return "\n\n".join([*parts, "\n".join(f"- {note}" for note in migration_notes(content))]) + "\n"


def migration_notes(content: MigrationContent) -> list[str]:
    """Return the notes of a migration report: sentences about the training pairs, the columns and the sizes."""
    counts = ", ".join(f"{count:,} {split}" for split, count in content.pairs.items())
    drawn = {
        "row": f"drawn by row with seed {content.seed}",
        "group": f"drawn by group with seed {content.seed}",
        "set": "the splits of the set",
    }[content.split_by]
    kit = content.rows[0]
    share = "" if kit.bytes is None else f", {100 * kit.bytes / content.training_bytes:.2f} % of the training pairs"
    files = f"The kit stores {kit.size} rows per side ({content.storage}) in {_bytes(kit)}{share} in float32."
    return [
        f"Old: {content.old} (width {content.widths['old']}). New: {content.new} (width {content.widths['new']}).",
        f"Pairs: {counts} ({drawn}). Validation chose all settings; test pairs were scored once.",
        f"{files} All of its files are counted, and it gives the maps of both directions.",
        _MIXED,
        _LOW_RANK,
    ]


def summary_lines(content: MigrationContent) -> list[str]:
    """Return the recall@1 of the report's migration kit and of ridge regression on all pairs, one line per direction.

    A migration kit contains a few paired rows, from which maps between an old and a new embedding space are computed.
    """
    first = content.levels[0]
    ridge = next((row for row in content.rows if row.name == "ridge, all pairs"), None)
    lines = []
    for direction, (source, target) in _DIRECTIONS.items():
        kit = _first(content.rows[0], direction, first)
        other = "" if ridge is None else f"; ridge on all pairs {_first(ridge, direction, first)}"
        lines.append(f"{source} to {target}  {first} {kit}{other}")
    return lines


def _first(row: MigrationRow, direction: str, level: str) -> str:
    recall = row.recall[direction]
    return " / ".join(f"{100 * recall[task][level]:.1f}" for task in ("queries", "gallery"))


def _texts(row: MigrationRow, direction: str, levels: Sequence[str]) -> tuple[str, ...]:
    tasks = row.recall[direction]
    recalls = (_recall(tasks[task], levels) for task in ("queries", "gallery", "mixed"))
    return row.name, ABSENT if row.size is None else str(row.size), _bytes(row), *recalls


def _recall(values: Mapping[str, float], levels: Sequence[str]) -> str:
    return "/".join(f"{100 * values[level]:.1f}" for level in levels)


def _bytes(row: MigrationRow) -> str:
    return ABSENT if row.bytes is None else human_bytes(row.bytes)
