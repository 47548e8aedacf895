"""Gain retained against the size of a set, with one curve per method and 95 % intervals. Sizes are on a log scale.

Markers of methods are filled, and those of baselines are hollow.

The values are those of the figure that a comparison writes (`report.gain_figure`).
"""

from __future__ import annotations

from collections.abc import Sequence

from omnidistill.core.errors import InputError
from omnidistill.plotting.figure_kind import FigureKind, FigureOptions
from omnidistill.plotting.paper_figure import (
    GREY,
    LEGEND_LINE,
    LegendLayout,
    PaperFigure,
    SeriesStyle,
    new_figure,
    use_log_scale,
)
from omnidistill.plotting.plotted_run import Source
from omnidistill.report.comparison_content import Comparison
from omnidistill.report.gain_figure import gain_points, recall_levels, second_level

_HEIGHT = 2.0  # inches without the legend
_ALL_ROWS = "all rows, InfoNCE"


class GainByBytes(FigureKind):
    """Gain retained against bytes."""

    name = "gain"
    needs = "one comparison with several sizes or budgets"

    def accepts(self, sources: Sequence[Source]) -> bool:
        """Return whether the only source is a comparison with at least two sizes or budgets."""
        return (
            len(sources) == 1
            and isinstance(sources[0], Comparison)
            and sources[0].data.bytes is not None
            and len({row.group for row in sources[0].rows} - {None}) > 1
        )

    def draw(self, sources: Sequence[Source], options: FigureOptions) -> PaperFigure:
        """Draw one curve per method. See the base class."""
        (comparison,) = sources
        assert isinstance(comparison, Comparison)
        levels = recall_levels(comparison)
        level = options.level_of(levels, second_level(levels))
        series = gain_points(comparison, level)
        if not series:
            raise InputError(
                f"{comparison.name}: no row has both a size in bytes and a gain at {level}, so there is nothing to "
                "draw; choose another recall level, or run the failed methods again"
            )
        legend = LegendLayout.of([_ALL_ROWS, *series], options.width)
        figure = new_figure(options.width, _HEIGHT + LEGEND_LINE * legend.num_lines)
        axes = figure.add_subplot()
        axes.axhline(100, color=GREY, linewidth=0.7, label=_ALL_ROWS, zorder=1)
        methods = {label for method, label in comparison.families().items() if method in _methods(comparison)}
        for number, (name, points) in enumerate(series.items()):
            style = SeriesStyle.of(number)
            gains = [100 * point.gain.mean for point in points]
            below = [100 * (point.gain.mean - point.gain.low) for point in points]
            above = [100 * (point.gain.high - point.gain.mean) for point in points]
            axes.errorbar(
                [point.share for point in points],
                gains,
                yerr=(below, above),
                label=legend.texts[name],
                color=style.colour,
                marker=style.marker,
                linestyle=style.dash,
                markerfacecolor=style.colour if name in methods else "white",
                elinewidth=0.6,
                capsize=1.2,
                capthick=0.6,
            )
        use_log_scale(axes, "x")
        axes.set_xlabel("bytes, % of the training features")
        axes.set_ylabel(f"gain retained at {level}, %")
        axes.grid(axis="y")
        figure.legend(loc="outside lower center", ncols=legend.num_columns)
        return figure


def _methods(comparison: Comparison) -> set[str]:
    return {row.method for row in comparison.rows if row.is_method}
