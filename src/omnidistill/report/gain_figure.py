"""SVG figure of gain retained against size in bytes. Each method has one curve, with a point per budget or size.

The x axis is logarithmic and shows the size of a set in % of the training features in float32. The y axis shows the
gain retained in % at the second recall level (usually R@5). The figure also shows three baselines: "heads of equal
bytes" in floating point and in 4 bits, and "ridge CCA heads".
"""

from __future__ import annotations

from omnidistill.evaluation.run_scores import MEAN, level_number
from omnidistill.report.comparison_content import Comparison
from omnidistill.report.curves import Point, line_chart
from omnidistill.report.svg_elements import standalone

_BASELINES = ("equal-bytes", "equal-bytes-4-bit", "cca")


def gain_figure(comparison: Comparison) -> str:
    """Return the figure of a comparison as the content of an SVG file.

    Raises:
        InputError: the comparison does not contain the size of the training rows.
    """
    level = _level([set(row.recall[MEAN]) for row in comparison.rows if row.recall is not None])
    families = comparison.families()
    points: dict[str, list[Point]] = {}
    for row in comparison.rows:
        gain = row.gain(level)
        if (row.is_method or row.method in _BASELINES) and gain is not None and row.bytes is not None:
            point = (100 * comparison.share(row.bytes), 100 * gain.mean)
            points.setdefault(families[row.method], []).append(point)
    return standalone(
        line_chart(
            {name: sorted(of_method) for name, of_method in points.items()},
            title=f"{comparison.data.name}: gain retained at {level} against bytes",
            x_label="bytes, % of the training features (log scale)",
            y_label=f"gain retained at {level}, %",
            log_x=True,
        )
    )


def _level(levels_of_rows: list[set[str]]) -> str:
    """Return the second recall level, or the first if there is only one. If every row failed, return R@5."""
    levels = sorted(levels_of_rows[0], key=level_number)[:2] if levels_of_rows else ["R@5"]
    return levels[-1]
