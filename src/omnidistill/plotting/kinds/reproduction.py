"""Mean recall of every row in the tables of the HoPA paper: our value as a filled dot, the printed one as a diamond.

Each panel is one table on one dataset, and has an axis of its own. A grey line joins the two values of a row. Methods
are blue, and baselines are dark grey. If one of the values is missing, only the other is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.plotting.figure_kind import FigureKind, FigureOptions
from omnidistill.plotting.paper_figure import COLOURS, GREY, LEGEND_LINE, PaperFigure
from omnidistill.plotting.plotted_run import Source
from omnidistill.plotting.row_panels import row_panels
from omnidistill.report.paper_content import PaperContent, PaperRow, PaperSection
from omnidistill.report.paper_table import FAILED, OURS, PRINTED, row_label

_BASELINE = "0.25"


class Reproduction(FigureKind):
    """Recall that `paper` computed, next to the recall that the HoPA paper prints."""

    name = "reproduction"
    needs = "the tables of one 'omnidistill paper'"

    def accepts(self, sources: Sequence[Source]) -> bool:
        """Return whether the only source is the result of `paper`."""
        return len(sources) == 1 and isinstance(sources[0], PaperContent)

    def draw(self, sources: Sequence[Source], options: FigureOptions) -> PaperFigure:
        """Draw one panel per table and dataset. See the base class."""
        (content,) = sources
        assert isinstance(content, PaperContent)
        sections = _sections(content, options)
        level = options.level_of(sections[0].levels, sections[0].levels[0])
        panels = [(section.title, [_label(row) for row in section.rows]) for section in sections]
        figure, grid = row_panels(panels, options.width, share_x=False, extra=LEGEND_LINE)
        for (axes, places), section in zip(grid, sections, strict=True):
            for row, place in zip(section.rows, places, strict=True):
                _draw_row(axes, row, place, level)
        last = grid[-1][0]
        for whose, marker, filled in ((OURS, "o", _BASELINE), (PRINTED, "D", "white")):
            last.plot([], [], marker, color=_BASELINE, markerfacecolor=filled, label=whose)
        last.set_xlabel(f"mean {level}, %")
        figure.legend(loc="outside lower center", ncols=2)
        return figure


def _sections(content: PaperContent, options: FigureOptions) -> list[PaperSection]:
    """Return the sections of the requested table, or all of them."""
    if not content.sections:
        raise InputError("no table of the paper is finished yet; finish one with the command 'paper', and plot again")
    if options.table is None:
        return list(content.sections)
    sections = [section for section in content.sections if section.number == str(options.table)]
    if not sections:
        numbers = dict.fromkeys(section.number for section in content.sections)
        raise InputError(f"{argument('table', options.table)}: not in the results; choose from {', '.join(numbers)}")
    return sections


def _label(row: PaperRow) -> str:
    return row_label(row) + (f" ({FAILED})" if row.error is not None and not row.ours.recall else "")


def _draw_row(axes: Axes, row: PaperRow, place: float, level: str) -> None:
    """Draw the published and the computed value of a row, as far as they are known, and join them with a line."""
    colour = COLOURS[0] if row.is_method else _BASELINE
    ours, printed = ([100 * each.recall[level]] if level in each.recall else [] for each in (row.ours, row.printed))
    if ours and printed:
        axes.plot([*ours, *printed], [place, place], color=GREY, linewidth=0.8, zorder=1)
    axes.plot(printed, [place] * len(printed), "D", color=colour, markerfacecolor="white", markersize=4.5)
    axes.plot(ours, [place] * len(ours), "o", color=colour, markersize=3)
