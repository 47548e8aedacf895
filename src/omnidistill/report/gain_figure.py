"""Gain retained against bytes: a line for every method over its budgets (or sizes), as one SVG file.

x is what a set weighs in % of the training features in float32, on a logarithmic axis; y the gain retained in % at the
second recall level (R@5). Of the references there are the heads of equal bytes and the point of ridge CCA.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omnidistill.report.comparison_content import MEAN, level_number, read_comparison
from omnidistill.report.curves import Point, line_chart, standalone

_REFERENCES = ("equal-bytes", "equal-bytes-4-bit", "cca")


def gain_figure(comparison: Mapping[str, Any]) -> str:
    """The content of the SVG file. Raises InputError where the comparison is damaged."""
    read = read_comparison(comparison)
    level = _level([set(line.recall[MEAN]) for line in read.lines if line.recall is not None])
    families = read.families()
    points: dict[str, list[Point]] = {}
    for line in read.lines:
        gain = line.gain(level)
        if (line.kind == "method" or line.method in _REFERENCES) and gain is not None and line.bytes is not None:
            points.setdefault(families[line.method], []).append((100 * read.share(line.bytes), 100 * gain.mean))
    return standalone(
        line_chart(
            {name: sorted(found) for name, found in points.items()},
            title=f"{read.data.name}: gain retained at {level} against bytes",
            x_label="bytes, % of the training features (log scale)",
            y_label=f"gain retained at {level}, %",
            log_x=True,
        )
    )


def _level(known: list[set[str]]) -> str:
    """The second of the levels, the first where there is one alone; R@5 where every line failed."""
    levels = sorted(known[0], key=level_number)[:2] if known else ["R@5"]
    return levels[-1]
