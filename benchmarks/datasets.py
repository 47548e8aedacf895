"""Benchmark data other than the bundled set: `python benchmarks/datasets.py [--only NAME] [--icons SET]`.

The datasets are the emoji set, two of its modalities, each of its drawing styles separately, and planted data with
other numbers of modalities, widths, groups and noise levels. No setting was chosen on planted data or on single styles.
Each dataset is distilled and scored as a user would do it: with the default of `distill` for ten seeds, with the
default of `distill --bytes` for three, and with heads of the same bytes for one. Writes results/datasets.json and .md.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from measuring import RESULTS, add_device, machine
from omnidistill.data.datasets import opened
from omnidistill.data.emoji import load_emoji
from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.data.planted import planted
from omnidistill.evaluation.baselines import default_baselines
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.experiments.evaluate_run import evaluate
from omnidistill.experiments.evaluation_result import Evaluation
from omnidistill.experiments.run import DistillResult, distill

CUTS = ("R@1", "R@5", "R@10")
SHARED = ("zero_shot", "full", "cca", "cca_infonce", "cca_stacked", "best")
RIVALS = ("cca-bytes-coded", "cca-bytes-coded-stacked", "direct-heads-coded", "direct-heads-coded-stacked")

EARLIER = (
    "Before sets had cutoffs and used up their budget (LOG.md, 29), planted data with three modalities had 62/75/81 "
    "and 62/76/82 with 100 rows, and 16/27/33 and 12/22/28 at 1 %; icons had 81/79/81 and 73/73/74 at 1 %. The cutoff "
    "was chosen on validation, so the test splits of icons and planted data were scored twice, once per version."
)


def _emoji(*styles: str) -> FeatureSet:
    return prepare(load_emoji(styles))


def _planted(widths: Sequence[int], rows: Mapping[str, int], seed: int, **settings: Any) -> FeatureSet:
    return prepare(planted(dict(zip("abcd", widths, strict=False)), rows, seed=seed, **settings))


SPLITS = {"heads": 500, "train": 2500, "validation": 300, "test": 600}
NO_HEADS = {"train": 3000, "validation": 300, "test": 600}
DATA: dict[str, Callable[[], FeatureSet]] = {
    "emoji": lambda: opened("emoji"),
    "emoji, M = 2": lambda: opened("emoji").only(["image", "text"]),
    "emoji, noto": partial(_emoji, "noto"),
    "emoji, twemoji": partial(_emoji, "twemoji"),
    "emoji, fluent": partial(_emoji, "fluent"),
    "planted, M = 2, no heads split": partial(
        _planted, (512, 384), NO_HEADS, 12, latent=40, noise=2.5, positives_per_group=3
    ),
    "planted, M = 3": partial(_planted, (512, 320, 240), SPLITS, 13, latent=48, noise=2.2),
    "planted, M = 4": partial(_planted, (640, 320, 240, 160), SPLITS, 11, latent=48, noise=2.2),
}


@dataclass(frozen=True)
class SetColumn:
    """A set in the table: its name, its preset, its number of seeds, and its budget (None: 100 rows)."""

    label: str
    preset: str
    num_seeds: int
    budget: str | None = None


SETS = (
    SetColumn("anchor, 100 rows", "anchor", 10),
    SetColumn("anchor-coded, 1 %", "anchor-coded", 3, "1%"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Distil and score datasets other than the bundled one.")
    parser.add_argument("--seeds", type=int, default=10, help="largest number of seeds per set (default: 10)")
    parser.add_argument("--only", help="run only this dataset; the results of the others stay unchanged")
    parser.add_argument("--icons", type=Path, help="folder of the icons dataset, as a further dataset")
    add_device(parser)
    arguments = parser.parse_args()
    data = DATA if arguments.icons is None else {**DATA, "icons": lambda: opened(arguments.icons)}
    if arguments.only and arguments.only not in data:
        parser.error(f"--only: unknown dataset '{arguments.only}'; known are {'; '.join(data)}")
    stored = RESULTS / "datasets.json"
    rows: dict[str, Any] = json.loads(stored.read_text())["data"] if stored.exists() else {}
    computer = machine(arguments.device)
    for name in [arguments.only] if arguments.only else data:
        started_at = time.monotonic()
        rows[name] = _row(data[name](), arguments.seeds, arguments.device)
        rows[name]["minutes"] = (time.monotonic() - started_at) / 60
        print(name, json.dumps(rows[name]), flush=True)
        record = {"machine": computer, "data": rows}
        stored.write_text(json.dumps(record, indent=1) + "\n")
        (RESULTS / "datasets.md").write_text(_markdown(record))


def _row(data: FeatureSet, most_seeds: int, device: torch.device) -> dict[str, Any]:
    """Return the scores of all sets of one dataset; all use the same heads, and the baselines are trained only once."""
    shared: dict[str, TrainedHeads] = {}
    first: DistillResult | None = None
    content: dict[str, Any] = {"rows": data.split_sizes, "widths": data.widths, "sets": {}}
    for column in SETS:
        runs = []
        for seed in range(min(column.num_seeds, most_seeds)):
            result = distill(
                data,
                preset=column.preset,
                bytes=column.budget,
                heads=None if first is None else first.start,
                seed=seed,
                device=device,
                progress=False,
            )
            first = first or result
            baselines = default_baselines(
                ["cca", "cca-stacked", "best", *(RIVALS if column.budget and not runs else ())]
            )
            evaluated = evaluate(
                result, data, num_seeds=3, shared=shared, baselines=baselines, device=device, progress=False
            )
            shared = {name: evaluated.rows[name] for name in SHARED if name in evaluated.rows}
            runs.append(_scores(evaluated))
        content["sets"][column.label] = runs
    return content


def _scores(evaluated: Evaluation) -> dict[str, Any]:
    """Return recall and gain retained of every row, and the facts about the set."""
    scores = evaluated.scores
    rows = {
        name: {
            "recall": [row.recall["mean"][cut].mean for cut in CUTS],
            "gain": [None if (gain := row.gain(cut)) is None else gain.mean for cut in CUTS],
        }
        for name, row in scores.rows.items()
    }
    return {"rows": rows, "size": scores.size, "bytes": scores.bytes.distilled, "seconds": scores.seconds}


def _markdown(record: Mapping[str, Any]) -> str:
    recalls = [["data", "train rows", "initial heads", "all rows, InfoNCE", "best on all rows"]]
    gains = [["data", "seeds", *(f"{column.label}{part}" for column in SETS for part in (", stacked", ", any start"))]]
    rivals = [["data, 1 % of the bytes", "set", "heads learned directly", "ridge CCA heads", "set, stacked"]]
    rivals[0] += ["heads learned directly, stacked", "ridge CCA heads, stacked"]
    for name, content in record["data"].items():
        sets = content["sets"]
        first, coded = sets[SETS[0].label][0]["rows"], sets[SETS[1].label]
        recalls.append([name, f"{content['rows']['train']:,}"])
        recalls[-1] += [_three(first[row]["recall"], 1) for row in ("zero_shot", "full", "best")]
        gains.append([name, ", ".join(str(len(sets[column.label])) for column in SETS)])
        for column in SETS:
            for row in ("distilled", "distilled_alone"):
                gains[-1].append(_over_seeds([run["rows"][row]["gain"] for run in sets[column.label]]))
        rows = ("distilled_alone", "direct_heads_coded", "cca_bytes_coded")
        rows += ("distilled", "direct_heads_coded_stacked", "cca_bytes_coded_stacked")
        rivals.append([name, *(_three(coded[0]["rows"][row]["gain"]) for row in rows)])
    minutes = sum(content["minutes"] for content in record["data"].values())
    note = (
        f"R@1/5/10 of the test split in %, then the gain retained in %, relative to InfoNCE on all rows. ± is the "
        f"standard deviation over seeds of distillation, whose number is given for 100 rows and for 1 %; the "
        f"last table has one seed. {record['machine']} {minutes:.0f} minutes."
    )
    return "\n\n".join([note, *map(_table, (recalls, gains, rivals)), EARLIER]) + "\n"


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{'---|' * len(rows[0])}", *lines[1:]])


def _three(values: Sequence[float | None], digits: int = 0) -> str:
    return "/".join("–" if value is None else f"{100 * value:.{digits}f}" for value in values)


def _over_seeds(gains: Sequence[Sequence[float | None]]) -> str:
    """Return mean ± standard deviation over seeds for each K."""
    columns = [[value for value in column if value is not None] for column in zip(*gains, strict=True)]
    deviations = [stdev(column) if len(column) > 1 else 0.0 for column in columns]
    return f"{_three([mean(column) if column else None for column in columns])} ± {_three(deviations)}"


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
