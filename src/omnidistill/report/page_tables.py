"""Tables that only the page has: recall by direction, tinted by height, and runs side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from omnidistill.report.charts import total_floor
from omnidistill.report.claims import distilled_line, share
from omnidistill.report.run_table import (
    ABSENT,
    Scores,
    TextTable,
    arrow,
    gain_retained,
    human_bytes,
    percent,
    recall_levels,
    score_lines,
)

NUM_SHADES = 10
"""Shades of a heat table, from 0 (lowest) to this number (highest)."""


@dataclass(frozen=True)
class HeatCell:
    """Recall in percent, its spread over seeds ("" without one), and its shade."""

    text: str
    spread: str
    shade: int


@dataclass(frozen=True)
class HeatTable:
    """One recall level: a row a line, a column a direction."""

    level: str
    directions: list[str]
    rows: list[tuple[str, list[HeatCell | None]]]


def heat_tables(scores: Scores) -> list[HeatTable]:
    """A table for every recall level, each shaded from its lowest recall to its highest; none without directions."""
    lines = score_lines(scores)
    directions = [name for name in next(iter(lines.values()))["recall"] if name != "mean"]
    tables = []
    for k in recall_levels(scores) if directions else []:
        found = {
            name: [line["recall"].get(direction, {}).get(k) for direction in directions] for name, line in lines.items()
        }
        means = [cell["mean"] for cells in found.values() for cell in cells if cell is not None]
        low, high = min(means, default=0.0), max(means, default=0.0)
        rows = [
            (
                str(lines[name].get("label") or name),
                [None if cell is None else _heat_cell(cell, low, high) for cell in cells],
            )
            for name, cells in found.items()
        ]
        tables.append(HeatTable(k, [arrow(direction) for direction in directions], rows))
    return tables


def comparison_table(runs: Mapping[str, Scores]) -> TextTable | None:
    """What each run keeps, weighs and took, a row a run; None without runs."""
    scored = [scores for scores in runs.values() if "lines" in scores]
    if not runs:
        return None
    ks = recall_levels(scored[0]) if scored else []
    header = ("Run", "rows", "bytes", *(f"gain retained {k}" for k in ks), "matching loss", "rank floor", "seconds")
    return TextTable(header, tuple((label, *_comparison_cells(scores, ks)) for label, scores in runs.items()))


def _comparison_cells(scores: Scores, ks: list[str]) -> tuple[str, ...]:
    line = distilled_line(scores) if "lines" in scores else None
    weight, loss, floor = (scores.get("bytes") or {}).get("distilled"), scores.get("matching_loss"), total_floor(scores)
    seconds = (scores.get("seconds") or {}).get("distill")
    return (
        f"{scores['size']:,}" if "size" in scores else ABSENT,
        ABSENT if weight is None else human_bytes(weight),
        *(ABSENT if line is None else "n/a" if (gain := gain_retained(line, k)) is None else share(gain) for k in ks),
        ABSENT if loss is None else f"{loss:.3g}",
        ABSENT if floor is None else f"{floor:.3g}",
        ABSENT if seconds is None else f"{seconds:,.1f}",
    )


def _heat_cell(cell: Mapping[str, float], low: float, high: float) -> HeatCell:
    height = (cell["mean"] - low) / (high - low) if high > low else 0.0
    spread = cell.get("std")
    return HeatCell(percent(cell["mean"]), "" if spread is None else percent(spread), round(NUM_SHADES * height))
