"""What the page shows about a run that has not finished, from the files that the run has written so far."""

from __future__ import annotations

import time
from contextlib import suppress
from itertools import combinations
from pathlib import Path

from omnidistill.core.errors import InputError
from omnidistill.distillation.outer_loop import METRICS
from omnidistill.evaluation.run_scores import RunBytes, RunData, RunScores
from omnidistill.experiments.run import Run, pair_folder
from omnidistill.io.input_files import open_input
from omnidistill.io.tracking import MetricsRecord, read_records
from omnidistill.io.tracking.progress_file import RunningStage
from omnidistill.io.tracking.stage import time_left
from omnidistill.report.charts import run_charts
from omnidistill.report.live_page import LiveView


def live_run(run: Run) -> LiveView:
    """Return the curves, notes and settings of a run, and the current stage as its status.

    Files that are missing or being written are left out.
    """
    records = complete_records(run.folder / METRICS)
    stage = RunningStage.read(run.folder)
    status = "no stage has started" if stage is None else stage_text(stage, "iteration" if records else "step")
    facts = RunScores(
        method=run.config.method,
        size=run.config.distill.num_stored,
        versions=run.versions,
        data=RunData(name=str(run.location), widths={}, rows={}),
        floor=None,
        matching_loss=None,
        seconds={},
        bytes=RunBytes(features=0, distilled=0),
    )
    seconds: dict[str, float] = {}
    with suppress(InputError):
        seconds = run.seconds()
    return LiveView(
        f"{run.folder.resolve().name}: {facts.method}, {facts.size} rows",
        f"{_pair(run)}{status}",
        tuple(run_charts(facts, records)),
        tuple(note for record in records for note in record.notes),
        facts={
            "Seconds of the finished stages": dict(seconds),
            "Settings": run.config.model_dump(mode="json"),
            "Versions": dict(run.versions),
        },
        command=run.command,
    )


def complete_records(path: Path) -> list[MetricsRecord]:
    """Return the records in the complete lines of a metrics log; an empty list if the log cannot be read."""
    try:
        with open_input(path) as file:
            end = file.read().rfind(b"\n") + 1
        return read_records(path, end)
    except InputError:
        return []


def stage_text(stage: RunningStage, unit: str, with_time: bool = True) -> str:
    """Return a text such as "distill 100 rows, iteration 3 of 50, about 2 min left".

    Args:
        stage: the stage.
        unit: name of its steps.
        with_time: whether the text includes the remaining time of the stage.
    """
    text = f"{stage.label}, {unit} {stage.done} of {stage.total}"
    if stage.remaining is None or not with_time:
        return text
    return f"{text}, {time_left(max(0.0, stage.remaining - (time.time() - stage.at)))}"


def _pair(run: Run) -> str:
    """Return which pair of modalities is distilled, for a run with one set per pair; otherwise an empty text."""
    if run.config.joint:
        return ""
    folders = [pair_folder(run.folder, pair) for pair in combinations(run.modalities, 2)]
    done = sum((folder / "distilled" / "manifest.json").exists() for folder in folders)
    return f"pair {min(done + 1, len(folders))} of {len(folders)}, "
