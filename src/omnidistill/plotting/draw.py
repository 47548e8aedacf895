"""Draw a figure from tables or runs. If the user names no kind of figure, the first that fits is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError, nearest
from omnidistill.core.optional import require
from omnidistill.plotting.plotted_run import Source

if TYPE_CHECKING:
    from omnidistill.plotting.figure_kind import FigureKind
    from omnidistill.plotting.paper_figure import PaperFigure

COLUMN_WIDTH = 3.3
"""Width in inches of a column in most two-column papers."""
WIDTHS = (1.0, 40.0)
"""Smallest and largest width of a figure in inches."""
MEASURES = ("gain_retained", "recall", "improvement")


def draw(
    sources: Sequence[Source],
    kind: str | None = None,
    *,
    width: float = COLUMN_WIDTH,
    level: str | None = None,
    measure: str = MEASURES[0],
    table: str | int | None = None,
) -> PaperFigure:
    """Return a figure of the sources.

    Args:
        sources: runs, or the contents of tables.
        kind: kind of the figure: "gain", "curves", "intervals", "heat-map", "similarity" or "reproduction";
            None uses the first of these that can be drawn from the sources.
        width: width of the figure in inches, from 1 to 40.
        level: recall level, such as "R@5"; None uses the default of the kind.
        measure: what a heat map of a crossed table shows: "gain_retained", "recall" or "improvement".
        table: which table of the HoPA paper to draw if the source is a result of the command `paper`: its number, such
            as 5, or "figure-2". None draws all tables.

    Raises:
        InputError: matplotlib is not installed, an option is invalid, or the figure cannot be drawn from the sources.
    """
    require("matplotlib", "plot")
    from omnidistill.plotting.figure_kind import FigureOptions
    from omnidistill.plotting.paper_figure import paper_style

    if not (math.isfinite(width) and WIDTHS[0] <= width <= WIDTHS[1]):
        raise InputError(f"{argument('width', width)}: expected {WIDTHS[0]:g} to {WIDTHS[1]:g} inches")
    if measure not in MEASURES:
        raise InputError(f"{argument('measure', measure)}: unknown; measures: {', '.join(MEASURES)}")
    with paper_style():
        return _kind_of(sources, kind).draw(sources, FigureOptions(width, level, measure, table))


def _kind_of(sources: Sequence[Source], name: str | None) -> FigureKind:
    from omnidistill.plotting.kinds import KINDS

    possible = {kind.name: kind for kind in KINDS if kind.accepts(sources)}
    if name is None:
        if not possible:
            raise InputError("no figure can be drawn from these sources; possible are: " + _all_needs(KINDS))
        return next(iter(possible.values()))
    if name not in possible:
        kinds = {kind.name: kind for kind in KINDS}
        if name not in kinds:
            hint = nearest(name, kinds)
            raise InputError(f"{argument('kind', name)}: unknown; kinds: {', '.join(kinds)}{hint}")
        others = f"; these sources can be drawn as: {', '.join(possible)}" if possible else ""
        raise InputError(f"{argument('kind', name)} needs {kinds[name].needs}{others}")
    return possible[name]


def _all_needs(kinds: Sequence[FigureKind]) -> str:
    return "; ".join(f"{kind.name} ({kind.needs})" for kind in kinds)
