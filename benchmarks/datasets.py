"""Benchmark data other than the bundled set: `python benchmarks/datasets.py`. Writes results/datasets.json and .md.

The datasets are each drawing style of the emoji set separately, and planted data with other numbers of modalities,
widths, groups and noise levels (newly drawn; no setting was chosen on them). Each dataset is distilled and scored as a
user would do it: with the default method, and with a published method for comparison.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from measuring import RESULTS, add_device, machine
from omnidistill.data.emoji import load_emoji
from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.data.planted import planted
from omnidistill.data.raw import RawFeatures
from omnidistill.evaluation.baselines import default_baselines
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.experiments.evaluate_run import evaluate
from omnidistill.experiments.run import DistillResult, distill

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
    """A column of the table: its name, its preset, and its budget (without a budget, the set has 100 rows)."""

    label: str
    preset: str
    budget: str | None = None


SETS = (
    Made("recommended, 100 rows", "recommended"),
    Made("LoRS, 100 rows", "lors"),
    Made("compact, 1 %", "compact", "1%"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Distil and score datasets other than the bundled one.")
    parser.add_argument("--students", type=int, default=3, help="number of students per row of a table")
    parser.add_argument("--only", choices=DATA, help="run only this dataset; only prints")
    add_device(parser)
    arguments = parser.parse_args()
    computer, begun = machine(arguments.device), time.monotonic()
    rows: dict[str, dict[str, Any]] = {}
    for name in [arguments.only] if arguments.only else DATA:
        rows[name] = _row(prepare(DATA[name]()), arguments.students, arguments.device)
        print(name, json.dumps(rows[name]), flush=True)
    if arguments.only or arguments.device.type != "cpu":
        return
    minutes = (time.monotonic() - begun) / 60
    record = {"machine": computer, "minutes": minutes, "data": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "datasets.json").write_text(json.dumps(record, indent=1) + "\n")
    (RESULTS / "datasets.md").write_text(_markdown(record))


def _row(data: FeatureSet, students: int, device: torch.device) -> dict[str, Any]:
    """Return the scores of all sets of one dataset; all use the same heads, and the baselines are trained only once."""
    shared: dict[str, TrainedHeads] = {}
    kept: dict[str, Any] = {}
    first: DistillResult | None = None
    for made in SETS:
        result = distill(
            data,
            preset=made.preset,
            bytes=made.budget,
            heads=None if first is None else first.start,
            device=device,
            progress=False,
        )
        first = first or result
        baselines = default_baselines(["equal-bytes"])
        evaluated = evaluate(
            result, data, num_seeds=students, shared=shared, baselines=baselines, device=device, progress=False
        )
        shared = {line: evaluated.rows[line] for line in ("zero_shot", "full")}
        scores = evaluated.scores.to_json()
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
    note = "R@1/5/10 in % for zero-shot and all rows, and the gain in % that each set retains."
    return "\n".join([f"{note} {record['machine']} {record['minutes']:.0f} minutes.", "", *lines, ""])


def _three(values: list[float], digits: int = 1) -> str:
    return "/".join(f"{100 * value:.{digits}f}" for value in values)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
