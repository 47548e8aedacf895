"""The first figure of the report page: gain retained of every row of the score table, as dots with intervals.

There is one chart per recall level, with the largest gain at the top. Rows of distilled sets are emphasised. The dot of
a baseline that needs more bytes than the sets is hollow.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from omnidistill.evaluation.intervals import Interval
from omnidistill.evaluation.run_scores import RunScores
from omnidistill.report.dot_chart import Dot, dot_chart
from omnidistill.report.rivals import fits, is_set
from omnidistill.report.run_table import interval

_REFERENCE_LINES = {"initial heads": 0.0, "all rows": 100.0}
_WIDTHS = {"wide": 760.0, "narrow": 350.0}


@dataclass(frozen=True)
class GainDots:
    """The chart of one recall level, as SVG elements: one for wide windows and one for narrow ones."""

    level: str
    wide: str
    narrow: str


def gain_dots(scores: RunScores) -> list[GainDots]:
    """Return the chart of every recall level at which gain retained is defined."""
    charts = []
    for level in scores.levels:
        gains = [(name, row, gain) for name, row in scores.rows.items() if (gain := row.gain(level)) is not None]
        dots = [
            Dot(row.label, _percent(gain), interval(gain), is_set(name), not is_set(name) and not fits(scores, row))
            for name, row, gain in sorted(gains, key=lambda entry: -entry[2].mean)
        ]
        if dots:
            title, label = f"Gain retained at {level}", f"gain retained at {level}, %"
            drawn = {
                name: Markup(
                    dot_chart(dots, title=title, x_label=label, lines=_REFERENCE_LINES, width=width, name=name)
                )
                for name, width in _WIDTHS.items()
            }
            charts.append(GainDots(level, **drawn))
    return charts


def _percent(gain: Interval) -> Interval:
    return Interval(100 * gain.mean, 100 * gain.low, 100 * gain.high)
