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
from omnidistill.io.artifacts import write_atomic
from omnidistill.io.tracking import Progress, shown
from omnidistill.report.page import RunView, render_page
from omnidistill.report.run_table import combine, interval, to_markdown

PRESETS = ("hopa", "anchor")
NUM_SEEDS = 5
_SHARED = ("zero_shot", "cca", "cca_infonce", "cca_stacked", "full", "best")  # rows that both runs have in common


@dataclass(frozen=True)
class Demo:
    """The result of the demo.

    Attributes:
        scores: the scores of both methods, in one table.
        page: path of report.html.
        table: path of table.md.
        own_gains: one sentence per method: its gain, as a share of the gain from training on all rows with its own
            objective.
    """

    scores: RunScores
    page: Path
    table: Path
    own_gains: tuple[str, ...]


def run_demo(
    folder: Path, *, size: int = 100, device: str | torch.device = "auto", progress: Progress | bool = True
) -> Demo:
    """Run both methods in subfolders of `folder` and write report.html and table.md; finished runs are reused.

    Raises:
        InputError: `folder` is a file, or a subfolder contains something other than these runs.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; pass a folder")
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
        baselines = default_baselines(["full-own", "best"]) if views else None
        evaluation = evaluate(
            result,
            data,
            shared=shared,
            baselines=baselines,
            device=device,
            progress=display,
            command="omnidistill demo",
        )
        shared = {name: evaluation.rows[name] for name in _SHARED}
        scores.append(evaluation.scores)
        views.append(evaluation.view())
    combined = combine(scores)
    page, table = folder / "report.html", folder / "table.md"
    write_atomic(page, render_page(views).encode())
    write_atomic(table, to_markdown(combined).encode())
    return Demo(combined, page, table, tuple(_own_gain(each) for each in scores))


def _own_gain(scores: RunScores) -> str:
    distilled = scores.distilled
    gains = distilled.gain_retained_own or distilled.gain_retained or {}  # for InfoNCE, both are the same
    shown = ", ".join(f"n/a at {k}" if gain is None else f"{interval(gain)} % at {k}" for k, gain in gains.items())
    return f"{distilled.label}: it retains {shown} of what its own objective gains on all rows"
