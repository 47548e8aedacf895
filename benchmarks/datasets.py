"""Other data than the bundled set: `python benchmarks/datasets.py`. Writes results/datasets.json and .md.

Each drawing style of the emoji set as a data set of its own, and planted data of other numbers of modalities, widths,
groups and noise (drawn anew, no setting was chosen on them). Each is packed, distilled and scored as a user would, by
default and beside methods as published.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import RESULTS, machine
from omnidistill.data.emoji import load_emoji
from omnidistill.data.featureset import prepare
from omnidistill.data.planted import planted
from omnidistill.data.raw import RawFeatures
from omnidistill.data.store import save_features
from omnidistill.evaluation.baselines import default_baselines
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.experiments.config import load_config
from omnidistill.experiments.evaluate_run import evaluate_run
from omnidistill.experiments.run import run_distill

CUTS = ("R@1", "R@5", "R@10")
DATA: dict[str, Callable[[], RawFeatures]] = {
    "emoji, noto": lambda: load_emoji(["noto"]),
    "emoji, twemoji": lambda: load_emoji(["twemoji"]),
    "emoji, fluent": lambda: load_emoji(["fluent"]),
    "planted, M = 4": lambda: planted(
        {"a": 640, "b": 320, "c": 240, "d": 160},
        {"heads": 500, "train": 2500, "validation": 300, "test": 600},
        latent=48,
        noise=2.2,
        seed=11,
    ),
    "planted, M = 2, no heads split": lambda: planted(
        {"a": 512, "b": 384},
        {"train": 3000, "validation": 300, "test": 600},
        latent=40,
        noise=2.5,
        positives_per_group=3,
        seed=12,
    ),
}


@dataclass(frozen=True)
class Made:
    """A column of the table: its name, preset and budget (or 100 rows)."""

    label: str
    preset: str
    budget: str | None = None


SETS = (
    Made("recommended, 100 rows", "recommended"),
    Made("LoRS, 100 rows", "lors"),
    Made("compact, 1 %", "compact", "1%"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Distil and score other data sets.")
    parser.add_argument("--students", type=int, default=3, help="students a line")
    parser.add_argument("--only", choices=DATA, help="one data set")
    arguments = parser.parse_args()
    computer, begun = machine(), time.monotonic()
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, name in enumerate([arguments.only] if arguments.only else DATA):
            place = Path(scratch) / str(number)
            save_features(prepare(DATA[name]()), place / "SET")
            rows[name] = _row(place, arguments.students)
            print(name, json.dumps(rows[name]), flush=True)
    if arguments.only:
        return
    minutes = (time.monotonic() - begun) / 60
    record = {"machine": computer, "minutes": minutes, "data": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "datasets.json").write_text(json.dumps(record, indent=1) + "\n")
    (RESULTS / "datasets.md").write_text(_markdown(record))


def _row(place: Path, students: int) -> dict[str, Any]:
    """Every set of one data set, all from the same heads; the baselines are trained once."""
    shared: dict[str, TrainedHeads] = {}
    kept: dict[str, Any] = {}
    for number, made in enumerate(SETS):
        run = run_distill(
            str(place / "SET"),
            load_config(preset=made.preset, distill__size=made.budget),
            place / str(number),
            heads=place / "0" / "heads" if number else None,
        )
        baselines = default_baselines(["equal-bytes"])
        evaluated = evaluate_run(run, num_seeds=students, shared=shared, baselines=baselines)
        shared = {line: evaluated.rows[line] for line in ("zero_shot", "full")}
        scores = evaluated.scores
        kept |= {line: _recall(scores, line) for line in ("zero_shot", "full")}
        kept[made.label] = {
            "gain": [scores["gain_retained"][cut] for cut in CUTS],
            "equal_bytes": [scores["equal_bytes"]["gain_retained"][cut] for cut in CUTS],
            "recall": _recall(scores, "distilled"),
            "size": scores["size"],
            "bytes": scores["bytes"]["distilled"],
            "seconds": scores["seconds"],
        }
    return kept


def _recall(scores: dict[str, Any], line: str) -> list[float]:
    return [scores[line]["recall"]["mean"][cut]["mean"] for cut in CUTS]


def _markdown(record: dict[str, Any]) -> str:
    head = ["data", "zero-shot", "all rows", *(made.label for made in SETS)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, found in record["data"].items():
        recalls = [_three(found[line]) for line in ("zero_shot", "full")]
        gains = [_three([gain["mean"] for gain in found[made.label]["gain"]], 0) for made in SETS]
        lines.append(f"| {' | '.join([name, *recalls, *gains])} |")
    note = "R@1/5/10 in %, and the gain that each set retains in %."
    return "\n".join([f"{note} {record['machine']} {record['minutes']:.0f} minutes.", "", *lines, ""])


def _three(values: list[float], digits: int = 1) -> str:
    return "/".join(f"{100 * value:.{digits}f}" for value in values)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
