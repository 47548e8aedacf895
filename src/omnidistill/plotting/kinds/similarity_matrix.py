"""The learned similarity matrix of a set: entry (i, j) is the target similarity of rows i and j.

Colours go from dark (small) to light (large), so that they can be read in grey ("cividis"). Let x be the largest
magnitude of the off-diagonal entries or, if these are all 0, of all entries. The colour scale goes from 0 to x, or from
-x to x if there are negative entries. Entries above x, usually those on the diagonal, have the same colour as x. The
heat map on the report page uses the same limit x.

A matrix of more than 200 rows is divided into blocks. Each block has the colour of its entry of largest magnitude.
"""

from __future__ import annotations

from collections.abc import Sequence

from omnidistill.distillation import DistilledSet
from omnidistill.plotting.figure_kind import FigureKind, FigureOptions
from omnidistill.plotting.paper_figure import PaperFigure, new_figure
from omnidistill.plotting.plotted_run import PlottedRun, Source
from omnidistill.report.heatmap import MAX_PIXELS, shrink, strongest_pairs

_FIXED = ("identity", "groups")


class SimilarityMatrix(FigureKind):
    """The similarity matrix of each set of a run."""

    name = "similarity"
    needs = "one run whose sets have a learned similarity"

    def accepts(self, sources: Sequence[Source]) -> bool:
        """Return whether the only source is a run with a learned similarity matrix."""
        return len(sources) == 1 and isinstance(sources[0], PlottedRun) and bool(_learned(sources[0]))

    def draw(self, sources: Sequence[Source], options: FigureOptions) -> PaperFigure:
        """Draw one panel per set. See the base class."""
        (run,) = sources
        assert isinstance(run, PlottedRun)
        sets = _learned(run)
        figure = new_figure(options.width, 0.76 * options.width * len(sets))
        for axes, distilled in zip(figure.subplots(len(sets), 1, squeeze=False).flatten().tolist(), sets, strict=True):
            matrix = distilled.similarity().detach().float().cpu()
            size, strongest = len(matrix), strongest_pairs(matrix, 1)
            limit = abs(strongest[0][2]) if strongest else float(matrix.abs().max()) or 1.0
            image = axes.imshow(
                shrink(matrix, MAX_PIXELS).numpy(),
                cmap="cividis",
                vmin=-limit if bool((matrix < 0).any()) else 0.0,
                vmax=limit,
                extent=(0.5, size + 0.5, size + 0.5, 0.5),
                interpolation="none",
            )
            figure.colorbar(image, ax=axes, shrink=0.8, label="similarity", extend="max")
            axes.set_xlabel("row")
            axes.set_ylabel("row")
            if len(sets) > 1:
                axes.set_title(" and ".join(distilled.modalities), loc="left")
        return figure


def _learned(run: PlottedRun) -> list[DistilledSet]:
    return [part.distilled for part in run.parts if part.distilled.spec.similarity.kind not in _FIXED]
