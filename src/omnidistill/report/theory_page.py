"""A self-contained HTML page that compares the theory of the HoPA paper with measurements: findings, charts, tables.

Texts from the data are escaped; a content security policy allows only the page's own style and script.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from markupsafe import Markup

from omnidistill.evaluation.theory.theory_content import InstanceModes, TheoryContent
from omnidistill.report.page import render_template
from omnidistill.report.theory_charts import theory_charts
from omnidistill.report.theory_summary import findings, headline

NUM_INSTANCES = 20
"""Number of instances in the table: those whose first mode is farthest from that of their real row, after training."""
_ROUNDING = 1e-12  # coefficients below it are shown as zero


def render_theory(content: TheoryContent) -> str:
    """Return the page as HTML; the same content gives the same bytes."""
    modes = range(1, len(content.steps[0].omega) + 1)
    return render_template(
        "theory.html.jinja",
        content=content,
        headline=headline(content),
        findings=findings(content),
        charts=[replace(chart, svg=Markup(chart.svg)) for chart in theory_charts(content)],
        modes=list(modes),
        excitation=[
            (
                each.objective,
                each.step,
                ["0" if value < _ROUNDING else f"{value:.3g}" for value in each.omega],
                [f"{100 * share:.1f}" for share in (*each.energy, each.rest)],
            )
            for each in content.excitation
        ],
        instances=_instance_rows(content.instances["end"]),
        versions=", ".join(f"{name} {version}" for name, version in content.versions.items()),
    )


def _instance_rows(instances: Sequence[InstanceModes]) -> list[tuple[int, str, list[str]]]:
    """Return the contents of the table of instances, which shows at most `NUM_INSTANCES` synthetic rows.

    They are the synthetic rows that are farthest from the real rows assigned to them, farthest first. The distance
    between two rows is that of their first modes, `eps[0]`.

    Returns:
        (number of the synthetic row, id of its real row, texts) of each table row. The six texts are the lists sigma,
        real_sigma, shares, real_shares, omega and eps of `InstanceModes`, such as "0.98, 0.13" for two modes.
    """
    farthest = sorted(instances, key=lambda each: (-each.eps[0], each.row))[:NUM_INSTANCES]
    return [
        (
            each.row,
            each.real_id,
            [
                ", ".join(f"{value:.2f}" for value in values)
                for values in (each.sigma, each.real_sigma, each.shares, each.real_shares, each.omega, each.eps)
            ],
        )
        for each in farthest
    ]
