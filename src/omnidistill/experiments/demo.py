"""The demo: distil real triplets of image, text and audio with two methods, and compare them with the baselines.

The methods are HoPA and the default method, `anchor`. Both use the same initial heads. Students and baselines are
trained and tuned in the same way. The quick demo runs the same stages in seconds, on a third of the data and with a few
steps each; it shows that an installation works, but its scores mean nothing.
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
from omnidistill.experiments.config import RunConfig, has_setting, load_config
from omnidistill.experiments.evaluate_run import evaluate
from omnidistill.experiments.run import distill
from omnidistill.io.artifacts import is_new_folder, write_atomic
from omnidistill.io.tracking import Progress, shown
from omnidistill.report.page import RunView, render_page
from omnidistill.report.run_table import combine, to_markdown

PRESETS = ("hopa", "anchor")
NUM_SEEDS = 3
SIZE, QUICK_SIZE = 100, 20
_ALL_ROWS = ("zero-shot", "cca", "cca-infonce", "cca-stacked", "full", "best")  # the same for both runs
_QUICK_VARIANT = "noto/"
_QUICK = (
    "heads.width=64",
    "heads.num_epochs=1",
    "experts.num_experts=1",
    "experts.num_epochs=3",
    "distill.iterations=5",
    "distill.num_student_steps=5",
    "distill.validate_every=5",
    "distill.outer.max_start_epoch=1",
    "distill.outer.num_expert_epochs=1",
    "distill.cca_ridges=[0.3]",
    "distill.ridges=[0.1]",
    "evaluate.max_epochs=2",
    "evaluate.learning_rates=[1.0]",
)
"""Settings of the quick demo. Each applies to the methods that have it."""
_SAME_SIZE = ("random", "equal-bytes", "equal-bytes-4-bit")  # as many rows or bytes as the set


@dataclass(frozen=True)
class Demo:
    """The result of the demo.

    Attributes:
        scores: the scores of the baselines and of the two distilled sets (methods "hopa" and "anchor"), in one table.
        page: path of report.html.
        table: path of table.md.
    """

    scores: RunScores
    page: Path
    table: Path


def run_demo(
    folder: Path,
    *,
    size: int = SIZE,
    quick: bool = False,
    device: str | torch.device = "auto",
    progress: Progress | bool = True,
) -> Demo:
    """Distil with the presets `hopa` and `anchor` in subfolders of `folder`, and write report.html and table.md.

    Finished runs in the folder are reused.

    Args:
        folder: output folder.
        size: number of rows of each set.
        quick: whether to run the quick demo, whose scores mean nothing.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        progress: whether to show progress, or the object that shows it.

    Raises:
        InputError: `folder` is a file, or it contains something other than these runs.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; pass a folder")
    if not (folder / PRESETS[0]).exists() and not is_new_folder(folder):
        raise InputError(f"{folder}: is not empty and contains no demo; choose another folder")
    data = load("emoji")
    if quick:
        data = data.select([row for row, name in enumerate(data.ids) if name.startswith(_QUICK_VARIANT)])
    command, display = f"omnidistill demo{' --quick' if quick else ''}", shown(progress)
    shared: dict[str, TrainedHeads] = {}
    views: list[RunView] = []
    scores: list[RunScores] = []
    for preset in PRESETS:
        result = distill(
            data,
            config=_config(preset, size, quick),
            folder=folder / preset,
            heads=folder / PRESETS[0] / "heads" if views else None,
            resume=True,
            device=device,
            progress=display,
            command=f"{command} (preset {preset})",
        )
        names = [] if quick else ["best"] if views else [*_ALL_ROWS, *_SAME_SIZE]
        evaluation = evaluate(
            result,
            data,
            shared=shared,
            baselines=default_baselines(names),
            device=device,
            progress=display,
            command=command,
        )
        shared = {key: rows for key, rows in evaluation.rows.items() if key.replace("_", "-") in _ALL_ROWS}
        scores.append(evaluation.scores)
        views.append(evaluation.view())
    combined = combine(scores)
    page, table = folder / "report.html", folder / "table.md"
    write_atomic(page, render_page(views).encode())
    write_atomic(table, to_markdown(combined).encode())
    return Demo(combined, page, table)


def _config(preset: str, size: int, quick: bool) -> RunConfig:
    settings = [each for each in _QUICK if quick and has_setting(load_config(preset=preset), each)]
    return load_config(preset=preset, overrides=settings, distill__size=size, evaluate__num_seeds=NUM_SEEDS)
