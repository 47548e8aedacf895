"""Figure with one dot and its 95 % interval for every row of a table.

For a comparison or evaluated runs, the value is the gain retained. For a transfer table, it is the share of direct
distillation. The improvement of a row is its recall minus the recall with random training rows. The share is this
improvement, divided by the improvement of a set that was distilled with the new encoder.

Sets are filled dots, and baselines are hollow. A row without a value shows "n/a" instead of a dot. In a transfer table,
the row of the random training rows is omitted.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from omnidistill.plotting.figure_kind import FigureKind, FigureOptions
from omnidistill.plotting.paper_figure import COLOURS, GREY, PaperFigure
from omnidistill.plotting.plotted_run import PlottedRun, Source
from omnidistill.plotting.row_panels import row_panels
from omnidistill.report.comparison_content import Comparison
from omnidistill.report.gain_figure import recall_levels, second_level
from omnidistill.report.gain_rows import GainRow, comparison_gains, direct_shares, run_gains
from omnidistill.report.run_table import combine
from omnidistill.report.transfer_content import TransferContent


class GainIntervals(FigureKind):
    """Dots with intervals for the rows of a table."""

    name = "intervals"
    needs = "one comparison, one transfer table, or evaluated runs on the same data"

    def accepts(self, sources: Sequence[Source]) -> bool:
        """Return whether the source is a comparison or a transfer table, or all sources are evaluated runs."""
        if len(sources) == 1 and isinstance(sources[0], Comparison | TransferContent):
            return True
        return bool(sources) and all(isinstance(source, PlottedRun) and source.scores for source in sources)

    def draw(self, sources: Sequence[Source], options: FigureOptions) -> PaperFigure:
        """Draw one panel per table. See the base class."""
        x_label, panels = _panels(sources, options)
        labelled = [(title, [row.label for row in rows]) for title, rows in panels]
        figure, grid = row_panels(labelled, options.width, share_x=True)
        for (axes, places), (_, rows) in zip(grid, panels, strict=True):
            _draw_rows(axes, rows, places)
        grid[-1][0].set_xlabel(x_label)
        return figure


def _panels(sources: Sequence[Source], options: FigureOptions) -> tuple[str, list[tuple[str, list[GainRow]]]]:
    """Return the label of the axis, and (title, rows) for each panel."""
    first = sources[0]
    if isinstance(first, TransferContent):
        levels = first.targets[0].levels
        level = options.level_of(levels, levels[0])
        x_label = f"share of direct distillation at {level}, %"
        return x_label, [(target.name, direct_shares(target, level)) for target in first.targets]
    if isinstance(first, Comparison):
        levels = recall_levels(first)
        level = options.level_of(levels, second_level(levels))
        return f"gain retained at {level}, %", comparison_gains(first, level)
    scores = combine([source.scores for source in sources if isinstance(source, PlottedRun) and source.scores])
    level = options.level_of(scores.levels, second_level(scores.levels))
    return f"gain retained at {level}, %", [("", run_gains(scores, level))]


def _draw_rows(axes: Axes, rows: Sequence[GainRow], places: Sequence[float]) -> None:
    """Draw one dot with its interval per row, at the vertical positions `places`."""
    for value in (0, 100):
        axes.axvline(value, color=GREY, linewidth=0.6, linestyle=(0, (3, 2)))
    for row, place in zip(rows, places, strict=True):
        if row.gain is None:
            axes.annotate("n/a", (0.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=6)
            continue
        mean, low, high = (100 * value for value in (row.gain.mean, row.gain.low, row.gain.high))
        colour = COLOURS[0] if row.is_method else "0.25"
        axes.plot([low, high], [place, place], color=colour, linewidth=1.0, solid_capstyle="butt")
        filled = colour if row.is_method else "white"
        axes.plot([mean], [place], marker="o", color=colour, markerfacecolor=filled, markersize=3.5, linestyle="none")
