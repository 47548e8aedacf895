"""Training curves: losses, validation scores and step sizes of a run, or validation scores and losses of several runs.

A ring marks the iteration at which the run obtained its set. Dotted lines show rank floors, which are lower bounds on
the matching loss. A long curve is reduced to medians, with a band from the minimum to the maximum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from omnidistill.distillation.matching_loss import matching_loss
from omnidistill.plotting.figure_kind import FigureKind, FigureOptions
from omnidistill.plotting.paper_figure import GREY, PaperFigure, SeriesStyle, legend_columns, new_figure, use_log_scale
from omnidistill.plotting.plotted_run import PlottedRun, Source
from omnidistill.report.curves import Point, columns
from omnidistill.report.run_curves import X_LABEL, CurveGroup, run_curves, shared_curves

_PANEL, _LEGEND_LINE, _FULL_WIDTH = 1.5, 0.14, 5.0


class TrainingCurves(FigureKind):
    """Training curves of runs."""

    name = "curves"
    needs = "runs with one set each, whose methods learn in iterations"

    def accepts(self, sources: Sequence[Source]) -> bool:
        """Return whether all sources are runs with a training log."""
        return bool(sources) and all(isinstance(source, PlottedRun) and _has_curves(source) for source in sources)

    def draw(self, sources: Sequence[Source], options: FigureOptions) -> PaperFigure:
        """Draw one panel per group of curves. See the base class."""
        runs = [source for source in sources if isinstance(source, PlottedRun)]
        groups = (
            _groups(runs[0])
            if len(runs) == 1
            else list(shared_curves({run.label: run.parts[0].records for run in runs}))
        )
        kept = {run.label: run.parts[0].distilled.provenance.iteration for run in runs}
        across = min(2, len(groups)) if options.width >= _FULL_WIDTH else 1
        down = -(-len(groups) // across)
        figure = new_figure(options.width, _PANEL * down + _LEGEND_LINE * (len(runs) if len(runs) > 1 else 0))
        panels = figure.subplots(down, across, squeeze=False).flatten().tolist()
        for panel in panels[len(groups) :]:
            panel.remove()
        for panel, group in zip(panels, groups, strict=False):
            marks = kept if len(runs) > 1 else dict.fromkeys(group.curves, kept[runs[0].label])
            _draw_group(panel, group, marks)
            if len(runs) == 1 and len(group.curves) > 1:
                _name_curves_above(panel, group, options.width / across)
        if len(runs) > 1:
            handles, labels = panels[0].get_legend_handles_labels()
            figure.legend(
                handles,
                labels,
                loc="outside lower center",
                ncols=legend_columns(labels, options.width),
                handlelength=2.5,
            )
        return figure


def _has_curves(run: PlottedRun) -> bool:
    return len(run.parts) == 1 and bool(_groups(run))


def _groups(run: PlottedRun) -> list[CurveGroup]:
    part = run.parts[0]
    return list(run_curves(part.records, part.floor, matching=matching_loss(part) is not None))


def _draw_group(axes: Axes, group: CurveGroup, marks: Mapping[str, int | None]) -> None:
    """Draw the curves of a group, with their marks and their lower bound."""
    x_label = X_LABEL
    for number, (name, points) in enumerate(group.curves.items()):
        style = SeriesStyle.of(number)
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
        if (iteration := marks.get(name)) is not None:
            x, y = min(line, key=lambda point: abs(point[0] - iteration))
            ring = axes.plot([x], [y], "o", color=style.colour, markersize=6.5, clip_on=False, zorder=3)[0]
            ring.set_markerfacecolor("none")
            x_label = f"{X_LABEL} (ring: the returned set)"
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
    axes.set_title(group.title, loc="left")
    axes.set_xlabel(x_label)
    axes.set_ylabel(group.y_label)
    axes.grid(axis="y")


def _name_curves_above(axes: Axes, group: CurveGroup, width: float) -> None:
    """Put a legend between the title and the curves, where it covers nothing."""
    num_columns = legend_columns(list(group.curves), width - 0.6)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 0.98), ncols=num_columns, borderpad=0, handlelength=2.5)
    axes.set_title(group.title, loc="left", pad=5 + 9 * -(-len(group.curves) // num_columns))


def _split(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
