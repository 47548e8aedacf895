"""The demo: distil real image-text-audio triplets with HoPA and with the recommended method, and compare both with the
baselines.

Both methods start from the same heads; every row of the table is trained and tuned in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omnidistill.core.errors import InputError
from omnidistill.evaluation.baselines import default_baselines
from omnidistill.evaluation.run_scores import RunScores
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.experiments.config import load_config
from omnidistill.experiments.evaluate_run import evaluate_run
from omnidistill.experiments.run import EMOJI, open_data, run_distill
from omnidistill.experiments.run_page import run_view
from omnidistill.io.artifacts import write_atomic
from omnidistill.io.tracking import Progress
from omnidistill.report.page import RunView, render_page
from omnidistill.report.run_table import combine, interval, to_markdown

PRESETS = ("hopa", "recommended")
NUM_SEEDS = 5


@dataclass(frozen=True)
class Demo:
    """The result of the demo.

    Attributes:
        scores: those of both methods in one table.
        page, table: the files report.html and table.md.
        own_gains: one sentence per method: the share that it retains of its own gain on all rows.
    """

    scores: RunScores
    page: Path
    table: Path
    own_gains: tuple[str, ...]


def run_demo(folder: Path, *, size: int = 100, progress: Progress | None = None) -> Demo:
    """Run both methods in subfolders of `folder` (finished ones are reused) and write report.html and table.md.

    Raises:
        InputError: the folder holds something else.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give a folder with -o")
    data = open_data(EMOJI)
    shared: dict[str, TrainedHeads] = {}
    views: list[RunView] = []
    scores: list[RunScores] = []
    for preset in PRESETS:
        config = load_config(preset=preset, distill__size=size, evaluate__num_seeds=NUM_SEEDS)
        run = run_distill(
            EMOJI,
            config,
            folder / preset,
            heads=folder / PRESETS[0] / "heads" if views else None,
            resume=True,
            command=f"omnidistill demo (preset {preset})",
            progress=progress,
        )
        baselines = default_baselines(["full-own"]) if views else None
        evaluated = evaluate_run(run, shared=shared, baselines=baselines, command="omnidistill demo", progress=progress)
        shared = {name: evaluated.rows[name] for name in ("zero_shot", "full")}
        scores.append(evaluated.scores)
        views.append(run_view(run, evaluated.scores, data))
    combined = combine(scores)
    page, table = folder / "report.html", folder / "table.md"
    write_atomic(page, render_page(views).encode())
    write_atomic(table, to_markdown(combined).encode())
    return Demo(combined, page, table, tuple(_own_gain(each) for each in scores))


def _own_gain(scores: RunScores) -> str:
    distilled = scores.distilled
    gains = distilled.gain_retained_own or distilled.gain_retained or {}  # InfoNCE's own gain is that of `full`
    shown = ", ".join(f"n/a at {k}" if gain is None else f"{interval(gain)} % at {k}" for k, gain in gains.items())
    return f"{distilled.label}: of what its own objective gains on all rows it keeps {shown}"
