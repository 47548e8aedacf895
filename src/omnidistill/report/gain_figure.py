"""SVG figure of gain retained against bytes. Each method has one curve, with a point per budget or number of rows.

The x axis is logarithmic. It shows the bytes of a set in % of the bytes of the training features in float32. The y axis
shows the gain retained in % at the second recall level (usually R@5). The figure also shows three baselines: "heads of
equal bytes" in floating point and in 4 bits, and "ridge CCA heads".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omnidistill.evaluation.intervals import Interval
from omnidistill.evaluation.run_scores import MEAN, level_number
from omnidistill.report.comparison_content import Comparison
from omnidistill.report.curves import line_chart
from omnidistill.report.svg_elements import standalone

_BASELINES = ("equal-bytes", "equal-bytes-4-bit", "cca")


@dataclass(frozen=True)
class GainPoint:
    """A point of the figure: one distilled set or one baseline.

    Attributes:
        share: size of the set, or of the baseline's files, in % of the size of the training features.
        gain: gain retained, as a fraction.
    """

    share: float
    gain: Interval


def gain_points(comparison: Comparison, level: str) -> dict[str, list[GainPoint]]:
    """Return {method or baseline: its points in ascending order of size}. Table rows without gain or bytes are omitted.

    Args:
        comparison: the comparison.
        level: recall level, such as "R@5".

    Raises:
        InputError: the comparison does not contain the size of the training rows.
    """
    families = comparison.families()
    points: dict[str, list[GainPoint]] = {}
    for row in comparison.rows:
        gain = row.gain(level)
        if (row.is_method or row.method in _BASELINES) and gain is not None and row.bytes is not None:
            point = GainPoint(100 * comparison.share(row.bytes), gain)
            points.setdefault(families[row.method], []).append(point)
    return {name: sorted(of_method, key=lambda point: point.share) for name, of_method in points.items()}


def gain_figure(comparison: Comparison) -> str:
    """Return the figure of a comparison as the content of an SVG file.

    Raises:
        InputError: the comparison does not contain the size of the training rows.
    """
    level = second_level(recall_levels(comparison))
    return standalone(
        line_chart(
            {
                name: [(point.share, 100 * point.gain.mean) for point in points]
                for name, points in gain_points(comparison, level).items()
            },
            title=f"{comparison.data.name}: gain retained at {level} against bytes",
            x_label="bytes, % of the training features (log scale)",
            y_label=f"gain retained at {level}, %",
            log_x=True,
        )
    )


def recall_levels(comparison: Comparison) -> list[str]:
    """Return the recall levels of a comparison in ascending order of K, or R@5 if every row failed."""
    levels = [list(row.recall[MEAN]) for row in comparison.rows if row.recall is not None]
    return sorted(levels[0], key=level_number) if levels else ["R@5"]


def second_level(levels: Sequence[str]) -> str:
    """Return the second of several recall levels (usually R@5), or the first if there is only one."""
    return levels[:2][-1]
