"""Figure with one dot and its 95 % interval for every row of a table.

The value is the gain retained or, in a transfer table, a share. The share is the row's improvement in recall over
random training rows, divided by the improvement of a set that was distilled with the new encoder.

Sets are filled dots, and baselines are hollow. Rows without a value are listed without a dot.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from omnidistill.plotting.figure_kind import FigureKind, FigureOptions
from omnidistill.plotting.paper_figure import COLOURS, GREY, PaperFigure, fitted, new_figure
from omnidistill.plotting.plotted_run import PlottedRun, Source
from omnidistill.report.comparison_content import Comparison
from omnidistill.report.gain_figure import recall_levels, second_level
from omnidistill.report.gain_rows import GainRow, comparison_gains, direct_shares, run_gains
from omnidistill.report.run_table import combine
from omnidistill.report.transfer_content import TransferContent

_LINE, _MARGIN = 0.115, 0.55  # inches: height of half a row, and space above and below a panel
_LABELS = 0.44  # of the width, for the labels of the rows


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
        labels = [[fitted(row.label, _LABELS * options.width) for row in rows] for _, rows in panels]
        titles = [fitted(title, (1 - _LABELS) * options.width) for title, _ in panels]
        lines = [sum(label.count("\n") + 1.5 for label in of_panel) for of_panel in labels]
        title_lines = sum(title.count("\n") for title in titles)
        figure = new_figure(options.width, (sum(lines) + title_lines) * _LINE + _MARGIN * len(panels))
        grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=lines, sharex=True).flatten().tolist()
        for axes, title, (_, rows), of_panel in zip(grid, titles, panels, labels, strict=True):
            _draw_rows(axes, rows, of_panel)
            axes.set_title(title, loc="left")
        grid[-1].set_xlabel(x_label)
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


def _draw_rows(axes: Axes, rows: Sequence[GainRow], labels: Sequence[str]) -> None:
    """Draw one dot with its interval per row, from top to bottom. A label of several lines takes more space."""
    places, height = [], 0.0
    for label in labels:
        lines = label.count("\n") + 1.5
        places.append(height + lines / 2)
        height += lines
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
    axes.set_yticks(places, labels)
    axes.set_ylim(height, 0)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
