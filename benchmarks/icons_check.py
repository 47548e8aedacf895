"""Check on the validation split that training helps on the icons dataset: `python benchmarks/icons_check.py OUT`.

OUT is the folder that icons_dataset.py filled. The script writes results/icons.json and .md. The test split is not
read. Heads are the initial heads (pre-trained on the split `heads`), random heads, ridge CCA heads computed from all
training rows, and the initial heads trained on all training rows by InfoNCE.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

import omnidistill as od
from measuring import RESULTS, machine
from omnidistill.core.streams import Streams
from omnidistill.evaluation.baselines.all_rows import AllRows
from omnidistill.evaluation.baselines.baseline import Setting
from omnidistill.evaluation.baselines.ridge_cca import RidgeCca
from omnidistill.evaluation.directions import RECALL_AT, items_of, mean_recall, rank_heads, recalls
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.validation import run_of
from omnidistill.models.heads import random_heads

Candidate = tuple[str, Mapping[str, Tensor], Mapping[str, Tensor] | None, float]
"""Name, heads, bias, and seconds until the heads were there."""


def candidates(data: od.FeatureSet) -> Iterator[Candidate]:
    """Yield the heads to score."""
    begun = time.monotonic()
    start = od.pretrain_heads(data, progress=False)
    seconds = time.monotonic() - begun
    yield "random heads", random_heads(data.widths, start.width, Streams(0)["icons"]), None, 0.0
    yield "initial heads", start, None, seconds
    setting = Setting(data.development(), start, EvaluateConfig(num_seeds=2), 0)
    for baseline in (RidgeCca(), AllRows()):
        trained = baseline.fit(setting)
        yield trained.label, run_of(trained.heads, 0), trained.bias, trained.seconds


def scores(validation: od.FeatureSet, candidate: Candidate) -> dict[str, Any]:
    """Return the recall of one candidate on validation, as a mean and in every direction."""
    name, heads, bias, seconds = candidate
    rankings = rank_heads(heads, validation, bias)
    directions = {f"{a} to {b}": found[10] for (a, b), found in recalls(rankings).items()}
    return {"heads": name, "mean": mean_recall(rankings), "R@10": directions, "seconds": round(seconds, 1)}


def markdown(record: Mapping[str, Any]) -> str:
    """Return the tables of the page."""
    made, found = record["made"], record["scores"]
    splits = ", ".join(f"{split} {count:,} ({made['groups'][split]:,} groups)" for split, count in made["rows"].items())
    spent = ", ".join(f"{stage} {seconds:,.0f} s" for stage, seconds in made["seconds"].items())
    directions = list(found[0]["R@10"])
    lines = [
        "# The icons dataset",
        "",
        f"{sum(made['rows'].values()):,} rows: {splits}. {made['megabytes']:.0f} MB. Made in: {spent}.",
        "",
        record["licences"].strip(),
        "",
        f"Recall in % on validation ({record['items']}); the test split was not read. {record['machine']}",
        "",
        f"| heads | {' | '.join(f'R@{k}' for k in RECALL_AT)} | seconds | {' | '.join(directions)} |",
        f"|---{'|---:' * (len(RECALL_AT) + 1 + len(directions))}|",
    ]
    for row in found:
        mean = [f"{100 * row['mean'][k]:.1f}" for k in RECALL_AT]
        each = [f"{100 * row['R@10'][direction]:.1f}" for direction in directions]
        lines.append(f"| {' | '.join([row['heads'], *mean, str(round(row['seconds'])), *each])} |")
    return "\n".join([*lines, "", "Columns of directions are R@10.", ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("made", type=Path, help="folder that icons_dataset.py filled")
    folder = parser.parse_args().made
    computer = machine()
    try:
        data = od.load(folder / "features")
    except od.InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    validation = data.split("validation")
    counts = {name: len(rows) for name, rows in items_of(validation).items()}
    record: dict[str, Any] = {
        "machine": computer,
        "made": json.loads((folder / "report.json").read_text("utf-8")),
        "licences": (folder / "licences.md").read_text("utf-8"),
        "items": ", ".join(f"{count} {name} items" for name, count in counts.items()),
        "scores": [],
    }
    for candidate in candidates(data):
        record["scores"].append(scores(validation, candidate))
        print(json.dumps(record["scores"][-1]), flush=True)
    (RESULTS / "icons.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (RESULTS / "icons.md").write_text(markdown(record), "utf-8")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
