"""What a figure is drawn from: the content of a table, or a finished run."""

from __future__ import annotations

from dataclasses import dataclass

from omnidistill.distillation import Distillation
from omnidistill.evaluation.run_scores import RunScores
from omnidistill.report.comparison_content import Comparison
from omnidistill.report.crossed_content import CrossedContent
from omnidistill.report.migration_content import MigrationContent
from omnidistill.report.paper_content import PaperContent
from omnidistill.report.transfer_content import TransferContent


@dataclass(frozen=True, eq=False)
class PlottedRun:
    """A finished run.

    Attributes:
        label: name of the run in legends.
        parts: the set with its log, or one set with its log for each pair of modalities.
        scores: scores of the run; None if it has not been evaluated.
    """

    label: str
    parts: tuple[Distillation, ...]
    scores: RunScores | None = None


Source = Comparison | CrossedContent | TransferContent | MigrationContent | PaperContent | PlottedRun
