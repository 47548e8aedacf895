"""What the page shows about a comparison that has not finished: the results that are stored so far.

FOLDER/baselines/*, FOLDER/cells/*    results of `compare`; with `paper`, these are in FOLDER/<dataset>/ instead
FOLDER/crossed/results/*.json         results of a crossed table
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from statistics import fmean

from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.evaluation.directions import RECALL_AT, mean_recall
from omnidistill.evaluation.ranking import Ranking
from omnidistill.experiments.comparison.result_store import KIND, ResultCosts
from omnidistill.experiments.crossed.crossed_settings import NAME as CROSSED
from omnidistill.experiments.crossed.results import WorkResult
from omnidistill.experiments.live.live_run import stage_text
from omnidistill.io.artifacts import load_artifact
from omnidistill.io.input_files import reading
from omnidistill.io.tracking.progress_file import RunningStage
from omnidistill.report.live_page import CellRow, LiveView

_CHECKSUM = re.compile(r"-[0-9a-f]{8,}\b")
_RESULTS = ("baselines/*", "cells/*", "*/baselines/*", "*/cells/*", f"{CROSSED}/results/*.json")


class LiveComparison:
    """Reads the stored results of a comparison, a crossed table or `paper`; reads each result only once.

    Args:
        folder: output folder of the command.
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
        paths = [path for pattern in _RESULTS for path in sorted(self._folder.glob(pattern))]
        for path in paths:
            if path not in self._rows:
                with suppress(InputError):
                    self._rows[path] = _crossed_row(path) if path.suffix == ".json" else _row(path)
        return [self._rows.get(path) or CellRow(_name(path)) for path in paths]


def _crossed_row(path: Path) -> CellRow:
    """Return the row of a stored result of a crossed table. Raises InputError if the file is damaged."""
    result = WorkResult.from_file(path)
    recall = {int(name.removeprefix("R@")): value for name, value in (result.recall or {}).items()}
    return CellRow(_name(path), recall, result.seconds)


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
    """Return the name of a result's file or folder up to the checksum of its settings.

    For example, "anchor-n100-s0-1a2b3c4d" becomes "anchor-n100-s0".
    """
    return _CHECKSUM.split(folder.name)[0]
