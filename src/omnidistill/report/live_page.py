"""The page about a run or comparison that has not finished: its progress, curves, and results so far.

While the run continues, the page reloads itself and keeps the scroll position. The page needs no other files: a content
security policy allows only its own style and script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from omnidistill.core.json_value import Json
from omnidistill.report.charts import Chart
from omnidistill.report.page import render_template
from omnidistill.report.run_facts import flat
from omnidistill.report.sections import safe_charts


@dataclass(frozen=True)
class CellRow:
    """A row of the table of results: one set or baseline of a comparison.

    Attributes:
        name: name of the set or baseline.
        recall: mean recall over all directions as {K: fraction}; empty if the result is not complete.
        seconds: time to compute the result; None if it is not complete.
    """

    name: str
    recall: Mapping[int, float] = field(default_factory=dict)
    seconds: float | None = None


@dataclass(frozen=True)
class LiveView:
    """Content of the page.

    Attributes:
        title: what is running.
        status: one sentence about the progress.
        charts: curves of the run so far.
        notes: notes for the user from the log of the run.
        cells: results of a comparison so far.
        facts: further facts as {heading: {name: JSON value}}.
        command: the command that started the run; empty if it is not known.
    """

    title: str
    status: str
    charts: Sequence[Chart] = ()
    notes: Sequence[str] = ()
    cells: Sequence[CellRow] = ()
    facts: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    command: str = ""


def render_live(view: LiveView, reload_seconds: float | None) -> str:
    """Return the page as HTML.

    Args:
        view: the content.
        reload_seconds: time after which the page reloads itself; None if it does not.
    """
    levels = sorted({k for cell in view.cells for k in cell.recall})
    return render_template(
        "live.html.jinja",
        scripts=() if reload_seconds is None else ("live.js",),
        view=view,
        charts=safe_charts(view.charts),
        levels=levels,
        rows=[
            (
                cell.name,
                [f"{100 * cell.recall[k]:.1f}" if k in cell.recall else "–" for k in levels],
                "not finished" if cell.seconds is None else f"{cell.seconds:,.1f}",
            )
            for cell in view.cells
        ],
        facts={heading: list(flat(content)) for heading, content in view.facts.items() if content},
        reload_seconds=reload_seconds,
    )
