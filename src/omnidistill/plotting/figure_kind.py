"""Base class of the kinds of figures, and the options that all kinds share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.plotting.paper_figure import PaperFigure
from omnidistill.plotting.plotted_run import Source


@dataclass(frozen=True)
class FigureOptions:
    """Options of a figure.

    Attributes:
        width: width of the figure in inches.
        level: recall level, such as "R@5"; None uses the default of the kind.
        measure: what a heat map of a crossed table shows: "gain_retained", "recall" or "improvement".
        table: which table of the HoPA paper to draw if the source is a result of the command `paper`: its number, such
            as 5, or "figure-2". None draws all tables.
    """

    width: float
    level: str | None = None
    measure: str = "gain_retained"
    table: str | int | None = None

    def level_of(self, levels: Sequence[str], default: str) -> str:
        """Return the requested recall level, or the default.

        Raises:
            InputError: the requested level is not among `levels`.
        """
        if self.level is not None and self.level not in levels:
            raise InputError(f"{argument('level', self.level)}: not in the results; choose from {', '.join(levels)}")
        return self.level or default


class FigureKind(ABC):
    """A kind of figure."""

    name: ClassVar[str]
    """Name with which users choose the kind."""
    needs: ClassVar[str]
    """The sources from which the figure can be drawn, for error messages."""

    @abstractmethod
    def accepts(self, sources: Sequence[Source]) -> bool:
        """Return whether the figure can be drawn from these sources."""

    @abstractmethod
    def draw(self, sources: Sequence[Source], options: FigureOptions) -> PaperFigure:
        """Draw the figure from sources for which `accepts` returns True.

        Raises:
            InputError: the sources do not contain what the options request.
        """
