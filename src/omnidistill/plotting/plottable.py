"""Base class of the results that figures can be drawn from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from omnidistill.plotting.draw import COLUMN_WIDTH, MEASURES, draw
from omnidistill.plotting.plotted_run import Source

if TYPE_CHECKING:
    from omnidistill.plotting.paper_figure import PaperFigure


class Plottable(ABC):
    """A result from which figures can be drawn."""

    @property
    @abstractmethod
    def plot_source(self) -> Source:
        """The content of a table, or the finished run, from which figures are drawn."""

    def plot(
        self,
        kind: str | None = None,
        *,
        width: float = COLUMN_WIDTH,
        level: str | None = None,
        measure: str = MEASURES[0],
        table: str | int | None = None,
    ) -> PaperFigure:
        """Return a figure of the result, in a style for papers. Notebooks show it; `savefig` writes it to a file.

        Args:
            kind: kind of the figure, such as "intervals" (see `omnidistill.plot`); None uses the first kind that fits
                the result.
            width: width in inches. The default is the width of a column in a two-column paper.
            level: recall level, such as "R@5"; None uses the default of the kind.
            measure: what the heat map of a crossed table shows: "gain_retained", "recall" or "improvement".
            table: for a result of `paper`, which table of the HoPA paper to draw: its number, such as 5, or "figure-2".
                None draws all of them.

        Raises:
            InputError: matplotlib is not installed, an option is invalid, or the kind does not fit the result.
        """
        return draw([self.plot_source], kind, width=width, level=level, measure=measure, table=table)
