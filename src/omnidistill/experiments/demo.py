"""The demo: distil real triplets of image, text and audio with two methods, and compare them with the baselines.

The methods are HoPA and the default method, `anchor`. Both use the same initial heads. Students and baselines are
trained and tuned in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from omnidistill.core.errors import InputError
from omnidistill.data.datasets import load
from omnidistill.evaluation.baselines import default_baselines
from omnidistill.evaluation.run_scores import RunScores
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.experiments.config import load_config
from omnidistill.experiments.evaluate_run import evaluate
from omnidistill.experiments.run import distill
from omnidistill.io.artifacts import is_new_folder, write_atomic
from omnidistill.io.tracking import Progress, shown
from omnidistill.report.page import RunView, render_page
from omnidistill.report.run_table import combine, to_markdown

PRESETS = ("hopa", "anchor")
NUM_SEEDS = 3
_ALL_ROWS = ("zero-shot", "cca", "cca-infonce", "cca-stacked", "full", "best")  # the same for both runs
_SAME_SIZE = ("random", "equal-bytes", "equal-bytes-4-bit")  # as many rows or bytes as the set


@dataclass(frozen=True)
class Demo:
    """The result of the demo.

    Attributes:
        scores: the scores of both methods, in one table.
        page: path of report.html.
        table: path of table.md.
    """

    scores: RunScores
    page: Path
    table: Path


def run_demo(
    folder: Path, *, size: int = 100, device: str | torch.device = "auto", progress: Progress | bool = True
) -> Demo:
    """Distil with the presets `hopa` and `anchor` in subfolders of `folder`, and write report.html and table.md.

    Finished runs in the folder are reused.

    Raises:
        InputError: `folder` is a file, or it contains something other than these runs.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; pass a folder")
    if not (folder / PRESETS[0]).exists() and not is_new_folder(folder):
        raise InputError(f"{folder}: is not empty and contains no demo; choose another folder")
    data, display = load("emoji"), shown(progress)
    shared: dict[str, TrainedHeads] = {}
    views: list[RunView] = []
    scores: list[RunScores] = []
    for preset in PRESETS:
        result = distill(
            data,
            config=load_config(preset=preset, distill__size=size, evaluate__num_seeds=NUM_SEEDS),
            folder=folder / preset,
            heads=folder / PRESETS[0] / "heads" if views else None,
            resume=True,
            device=device,
            progress=display,
            command=f"omnidistill demo (preset {preset})",
        )
        baselines = default_baselines(["best"] if views else [*_ALL_ROWS, *_SAME_SIZE])
        evaluation = evaluate(
            result,
            data,
            shared=shared,
            baselines=baselines,
            device=device,
            progress=display,
            command="omnidistill demo",
        )
        shared = {key: evaluation.rows[key] for key in (name.replace("-", "_") for name in _ALL_ROWS)}
        scores.append(evaluation.scores)
        views.append(evaluation.view())
    combined = combine(scores)
    page, table = folder / "report.html", folder / "table.md"
    write_atomic(page, render_page(views).encode())
    write_atomic(table, to_markdown(combined).encode())
    return Demo(combined, page, table)
