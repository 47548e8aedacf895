"""Charts for one or several runs: losses, validation scores, and learned step sizes.

The chart of the matching loss also shows its rank floor, a lower bound for any set with the same number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from omnidistill.evaluation.run_scores import RunScores
from omnidistill.io.tracking import MetricsRecord
from omnidistill.report.curves import line_chart
from omnidistill.report.run_curves import CurveGroup, run_curves, shared_curves

_WIDTH = 400.0  # of a chart of the page, so that text is readable on a phone


@dataclass(frozen=True)
class Chart:
    """A chart with its title. `svg` is the text of an SVG element."""

    title: str
    svg: str


def run_charts(scores: RunScores, metrics: Sequence[MetricsRecord], iteration: int | None = None) -> Iterator[Chart]:
    """Yield the charts of a run: losses, validation scores and step sizes. Charts without data are omitted.

    Args:
        scores: scores of the run.
        metrics: records from the log of the run.
        iteration: outer iteration at which the run obtained its final set; it is marked on every curve. If None,
            nothing is marked.
    """
    for group in run_curves(metrics, scores.floor, matching=scores.matching_loss is not None, iteration=iteration):
        yield Chart(group.title, _chart(group, group.title))


def shared_charts(
    runs: Mapping[str, Sequence[MetricsRecord]], iterations: Mapping[str, int] | None = None
) -> Iterator[Chart]:
    """Yield a chart of the validation score and a chart of the loss, with one curve per run.

    If some runs are much longer than others, the x axis is the share of the run that is done.

    Args:
        runs: {label of a run: records from its log}.
        iterations: {label of a run: outer iteration at which the run obtained its final set}. This iteration is marked
            on the curve of the run.
    """
    for group in shared_curves(runs, iterations or {}):
        yield Chart(group.title, _chart(group, f"{group.title}, all runs"))


def total_floor(scores: RunScores) -> float | None:
    """Return the rank floor (a lower bound on the matching loss), summed over modalities.

    Return None if the run has no rank floor or no matching loss.
    """
    return sum(scores.floor.values(), start=0.0) if scores.floor and scores.matching_loss is not None else None


def _chart(group: CurveGroup, title: str) -> str:
    return line_chart(
        group.curves,
        title=title,
        x_label=group.x_label,
        y_label=f"{group.y_label}, log scale" if group.log_y else group.y_label,
        floor=group.floor,
        marks=group.marks,
        log_y=group.log_y,
        width=_WIDTH,
    )
