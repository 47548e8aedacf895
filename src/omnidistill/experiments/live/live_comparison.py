"""What the page shows about a comparison that has not finished: the results that are stored so far."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from statistics import fmean

from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.evaluation.directions import RECALL_AT, mean_recall
from omnidistill.evaluation.ranking import Ranking
from omnidistill.experiments.comparison.result_store import KIND, ResultCosts
from omnidistill.experiments.live.live_run import stage_text
from omnidistill.io.artifacts import load_artifact
from omnidistill.io.input_files import reading
from omnidistill.io.tracking.progress_file import RunningStage
from omnidistill.report.live_page import CellRow, LiveView


class LiveComparison:
    """Reads the results that a comparison has stored so far. Every result is read only once.

    Args:
        folder: folder of the comparison.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: dict[Path, CellRow] = {}

    def view(self) -> LiveView:
        """Return the current stage and the results so far, baselines first.

        A run that has no result yet is listed as not finished.
        """
        stage = RunningStage.read(self._folder)
        status = "no stage has started" if stage is None else stage_text(stage, "step", with_time=False)
        return LiveView(f"{self._folder.resolve().name}: comparison", status, cells=self._cells())

    def _cells(self) -> list[CellRow]:
        folders = sorted(path for part in ("baselines", "cells") for path in self._folder.glob(f"{part}/*"))
        for folder in folders:
            if folder not in self._rows:
                with suppress(InputError):
                    self._rows[folder] = _row(folder)
        return [self._rows.get(folder) or CellRow(_name(folder)) for folder in folders]


def _row(folder: Path) -> CellRow:
    """Return the row of a stored result. Raises InputError if the result is not stored or is damaged."""
    artifact = load_artifact(folder / KIND, KIND, verify=False)
    costs = ResultCosts.from_json(artifact.meta, str(folder / KIND))
    with reading(str(folder / KIND), costs.remedy):
        return CellRow(_name(folder), _recall(artifact.tensors), sum(costs.seconds.values()))


def _recall(tensors: Mapping[str, Tensor]) -> dict[int, float]:
    """Return mean recall@K over all directions and students, as {K: fraction}."""
    stored = {name.partition("->")[::2]: ranked for name, ranked in tensors.items() if "->" in name}
    num_runs = len(next(iter(stored.values())))
    of_runs = [{pair: Ranking.unpacked(each[run]) for pair, each in stored.items()} for run in range(num_runs)]
    runs = [mean_recall(rankings) for rankings in of_runs]
    return {k: fmean(run[k] for run in runs) for k in RECALL_AT}


def _name(folder: Path) -> str:
    """Return the name of a result without the checksum of its settings."""
    return folder.name.rpartition("-")[0]
