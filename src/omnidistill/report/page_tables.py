"""Tables that appear only on the page: recall by direction in shaded cells, and a comparison of runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from omnidistill.evaluation.run_scores import Recall, RunScores
from omnidistill.report.charts import total_floor
from omnidistill.report.claims import share
from omnidistill.report.run_table import ABSENT, TextTable, arrow, human_bytes, percent

NUM_SHADES = 10
"""The shades of a heat table are 0 (lowest recall) to this number (highest recall)."""


@dataclass(frozen=True)
class HeatCell:
    """A shaded cell: recall in percent, standard deviation over students ("" if there is none), and shade."""

    text: str
    spread: str
    shade: int


@dataclass(frozen=True)
class HeatTable:
    """Recall at one level (such as R@5), with one column per direction and the same rows as the score table."""

    level: str
    directions: list[str]
    rows: list[tuple[str, list[HeatCell | None]]]


def heat_tables(scores: RunScores) -> list[HeatTable]:
    """Return one table per recall level; an empty list if there are no directions.

    In each table, the shades range from the lowest to the highest recall of the table.

    Args:
        scores: the scores of an evaluated run.
    """
    tables = []
    for k in scores.levels if scores.directions else []:
        cells = [
            (row.label, [row.recall.get(direction, {}).get(k) for direction in scores.directions])
            for row in scores.rows.values()
        ]
        means = [recall.mean for _, recalls in cells for recall in recalls if recall is not None]
        low, high = min(means, default=0.0), max(means, default=0.0)
        rows = [
            (label, [None if recall is None else _heat_cell(recall, low, high) for recall in recalls])
            for label, recalls in cells
        ]
        tables.append(HeatTable(k, [arrow(direction) for direction in scores.directions], rows))
    return tables


def comparison_table(runs: Mapping[str, RunScores]) -> TextTable | None:
    """Return a table with the gain retained, size and time of each run, one row per run; None if there are no runs.

    Args:
        runs: scores of each run, by label of the run. Runs that have not been evaluated have no gain.
    """
    if not runs:
        return None
    levels = next((scores.levels for scores in runs.values() if scores.scored), [])
    header = ("Run", "rows", "bytes", *(f"gain retained {k}" for k in levels), "matching loss", "rank floor", "seconds")
    return TextTable(header, tuple((label, *_comparison_cells(scores, levels)) for label, scores in runs.items()))


def _comparison_cells(scores: RunScores, levels: list[str]) -> tuple[str, ...]:
    loss, floor, seconds = scores.matching_loss, total_floor(scores), scores.seconds.get("distill")
    return (
        f"{scores.size:,}",
        human_bytes(scores.bytes.distilled),
        *(_gain_cell(scores, k) for k in levels),
        ABSENT if loss is None else f"{loss:.3g}",
        ABSENT if floor is None else f"{floor:.3g}",
        ABSENT if seconds is None else f"{seconds:,.1f}",
    )


def _gain_cell(scores: RunScores, k: str) -> str:
    if not scores.scored:
        return ABSENT
    gain = scores.distilled.gain(k)
    return "n/a" if gain is None else share(gain)


def _heat_cell(recall: Recall, low: float, high: float) -> HeatCell:
    height = (recall.mean - low) / (high - low) if high > low else 0.0
    spread = "" if recall.std is None else percent(recall.std)
    return HeatCell(percent(recall.mean), spread, round(NUM_SHADES * height))
