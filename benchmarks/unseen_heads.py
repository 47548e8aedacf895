"""Measure transfer to unseen heads: `python benchmarks/unseen_heads.py`. Writes results/unseen_heads.json and .md.

Sets of the bundled emoji data are distilled for the heads with seed 0. Then heads with other seeds, heads with other
widths, and random heads are trained on them. Gain retained is relative to the gain of the same heads from training on
all rows, with step size and number of epochs chosen for these heads.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass
from typing import Any

from measuring import RESULTS, add_device, machine
from omnidistill.data.datasets import load
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.experiments.evaluate_run import evaluate
from omnidistill.experiments.run import distill, pretrain_heads

CUTS = ("R@1", "R@5", "R@10")


@dataclass(frozen=True)
class Made:
    """A set in the table: its name, preset and budget."""

    label: str
    preset: str
    budget: str | None = None


SETS = (
    Made("recommended, 100 rows", "recommended"),
    Made("compact, 1 %", "compact", "1%"),
    Made("portable, 1 %", "portable", "1%"),
)
HEADS = {
    "its own": (),
    "seed 101": ("seed=101",),
    "seed 102": ("seed=102",),
    "width 128": ("seed=101", "heads.width=128"),
    "width 512": ("seed=101", "heads.width=512"),
    "random": ("seed=101", "heads.num_epochs=0"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Train heads on sets that were distilled for other heads.")
    parser.add_argument("--students", type=int, default=5, help="number of students per row of a table")
    add_device(parser)
    arguments = parser.parse_args()
    computer, begun = machine(arguments.device), time.monotonic()
    place: dict[str, Any] = {"device": arguments.device, "progress": False}
    data = load("emoji")
    rows: dict[str, dict[str, Any]] = {}
    heads = {name: pretrain_heads(data, settings=settings, **place) for name, settings in HEADS.items()}
    known: dict[str, dict[str, TrainedHeads]] = {}
    for made in SETS:
        result = distill(data, preset=made.preset, bytes=made.budget, **place)
        for name in HEADS:
            evaluated = evaluate(
                result,
                data,
                num_seeds=arguments.students,
                heads=None if name == "its own" else heads[name],
                shared=known.get(name),
                baselines=(),
                **place,
            )
            known[name] = {line: evaluated.rows[line] for line in ("zero_shot", "full")}
            rows.setdefault(made.label, {})[name] = _kept(evaluated.scores.to_json())
            print(made.label, name, rows[made.label][name]["gain"], flush=True)
    if arguments.device.type != "cpu":
        return
    minutes = (time.monotonic() - begun) / 60
    record = {"machine": computer, "minutes": minutes, "sets": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "unseen_heads.json").write_text(json.dumps(record, indent=1) + "\n")
    (RESULTS / "unseen_heads.md").write_text(_markdown(record))


def _kept(scores: dict[str, Any]) -> dict[str, Any]:
    lines = ("zero_shot", "full", "distilled")
    recall = {line: [scores[line]["recall"]["mean"][cut]["mean"] for cut in CUTS] for line in lines}
    gains = [scores["gain_retained"][cut] for cut in CUTS]
    return {"gain": gains, "recall": recall, "bytes": scores["bytes"], "seconds": scores["seconds"]}


def _markdown(record: dict[str, Any]) -> str:
    head = ["set", *HEADS]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for label, found in record["sets"].items():
        cells = ["/".join(f"{100 * gain['mean']:.0f}" for gain in found[name]["gain"]) for name in HEADS]
        lines.append(f"| {' | '.join([label, *cells])} |")
    note = "Gain retained at R@1/5/10, in % of the gain of the same heads from training on all rows."
    return "\n".join([f"{note} {record['machine']} {record['minutes']:.0f} minutes.", "", *lines, ""])


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
