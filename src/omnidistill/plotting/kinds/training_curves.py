"""Training curves: losses, validation scores and step sizes of a run, or validation scores and losses of several runs.

A ring marks the iteration at which the run obtained its set. Dotted lines show rank floors, which are lower bounds on
the matching loss. A long curve is reduced to medians, with a band from the minimum to the maximum.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from omnidistill.distillation.matching_loss import matching_loss
from omnidistill.plotting.figure_kind import FigureKind, FigureOptions
from omnidistill.plotting.paper_figure import (
    GREY,
    LEGEND_LINE,
    LegendLayout,
    PaperFigure,
    SeriesStyle,
    fitted,
    new_figure,
    use_log_scale,
)
from omnidistill.plotting.plotted_run import PlottedRun, Source
from omnidistill.report.curves import Point, columns
from omnidistill.report.run_curves import CurveGroup, kept_iteration, run_curves, shared_curves

_PANEL, _AXIS = 1.5, 0.6  # inches: height of a panel, and width of its labels on the left
_FULL_WIDTH = 5.0  # inches from which two panels are drawn next to each other


class TrainingCurves(FigureKind):
    """Training curves of runs."""

    name = "curves"
    needs = "runs with one set each, whose methods learn in iterations"

    def accepts(self, sources: Sequence[Source]) -> bool:
        """Return whether all sources are runs with a training log."""
        runs = [source for source in sources if isinstance(source, PlottedRun) and len(source.parts) == 1]
        return 0 < len(runs) == len(sources) and bool(_groups(runs))

    def draw(self, sources: Sequence[Source], options: FigureOptions) -> PaperFigure:
        """Draw one panel per group of curves. See the base class."""
        runs = [source for source in sources if isinstance(source, PlottedRun)]
        labels, groups = [run.label for run in runs], _groups(runs)
        several = len(runs) > 1
        across = min(2, len(groups)) if options.width >= _FULL_WIDTH else 1
        down = -(-len(groups) // across)
        legend = LegendLayout.of(labels, options.width)
        figure = new_figure(options.width, _PANEL * down + (LEGEND_LINE * legend.num_lines if several else 0))
        panels = figure.subplots(down, across, squeeze=False).flatten().tolist()
        for panel in panels[len(groups) :]:
            panel.remove()
        for panel, group in zip(panels, groups, strict=False):
            _draw_group(panel, group, labels if several else list(group.curves))
            panel.set_title(fitted(group.title, options.width / across - _AXIS), loc="left")
            if not several and len(group.curves) > 1:
                _name_curves_above(panel, group, options.width / across - _AXIS)
        if several:
            named = {str(line.get_label()): line for panel in figure.axes for line in panel.get_lines()}
            texts = {label: text for label, text in legend.texts.items() if label in named}
            handles = [named[label] for label in texts]
            figure.legend(handles, texts.values(), loc="outside lower center", ncols=legend.num_columns)
        return figure


def _groups(runs: Sequence[PlottedRun]) -> list[CurveGroup]:
    kept = {run.label: kept_iteration(run.parts[0]) for run in runs}
    if len(runs) == 1:
        part, iteration = runs[0].parts[0], kept[runs[0].label]
        matching = matching_loss(part) is not None
        return list(run_curves(part.records, part.floor, matching=matching, iteration=iteration))
    logs = {run.label: run.parts[0].records for run in runs}
    return list(shared_curves(logs, {label: number for label, number in kept.items() if number is not None}))


def _draw_group(axes: Axes, group: CurveGroup, names: Sequence[str]) -> None:
    """Draw the curves of a group, with their marks and their lower bound.

    Args:
        axes: where to draw.
        group: the curves.
        names: names of all curves of the figure, whose order determines the styles.
    """
    for name, points in group.curves.items():
        style = SeriesStyle.of(names.index(name))
        line, band = columns(list(points))
        if band:
            axes.fill(*_split(band), color=style.colour, alpha=0.2, linewidth=0)
        axes.plot(
            *_split(line),
            color=style.colour,
            linestyle=style.dash,
            marker=style.marker if len(group.curves) > 1 or len(line) == 1 else None,
            markevery=max(1, len(line) // 6),
            markersize=2.8,
            label=name,
        )
        if (mark := group.marks.get(name)) is not None:
            x, y = min(line, key=lambda point: abs(point[0] - mark))
            ring = axes.plot([x], [y], "o", color=style.colour, markersize=6.5, clip_on=False, zorder=3)[0]
            ring.set_markerfacecolor("none")
    if group.floor is not None:
        axes.axhline(group.floor, color=GREY, linestyle=":", linewidth=0.9)
        axes.annotate(
            f"rank floor {group.floor:.3g}",
            (0.02, group.floor),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            fontsize=6,
            color="0.25",
        )
    if group.log_y:
        use_log_scale(axes, "y")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.set_xlabel(f"{group.x_label} (ring: the returned set)" if group.marks else group.x_label)
    axes.set_ylabel(group.y_label)
    axes.grid(axis="y")


def _name_curves_above(axes: Axes, group: CurveGroup, width: float) -> None:
    """Put a legend between the title and the curves, where it covers nothing."""
    legend = LegendLayout.of(list(group.curves), width)
    handles, names = axes.get_legend_handles_labels()
    texts, num_columns = [legend.texts[name] for name in names], legend.num_columns
    axes.legend(handles, texts, loc="lower left", bbox_to_anchor=(0, 0.98), ncols=num_columns, borderpad=0)
    axes.set_title(axes.get_title("left"), loc="left", pad=5 + 9 * legend.num_lines)


def _split(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
