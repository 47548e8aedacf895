"""Measure sets of the bundled emoji data on other encoders: `python benchmarks/transfer.py SET2 [SET2 ...]`.

Writes results/transfer.json and .md. The arguments are sets of other encoders with the ids, groups and splits of the
bundled data, as `emoji_features.py` makes them. Sets of 178 rows (1 % of the bytes in 4 bits) are distilled with three
seeds by the method "anchor", and by the method "mixture" with few items per row. The new encoders' validation rows
choose settings, and their test rows are scored once per row.

With `--validation`, the validation rows take the place of the test rows, and half of the groups of the split "heads"
take the place of the validation rows. Nothing is written. Settings of the method "mixture" were chosen in this way.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path

from measuring import RESULTS, add_device, machine
from omnidistill.data.datasets import load
from omnidistill.data.featureset import FeatureSet
from omnidistill.experiments.run import DistillResult, distill
from omnidistill.experiments.transfer import TransferSettings, transfer

SIZE = 178
SEEDS = (0, 1, 2)
ITEMS_PER_ROW = (4, 16)


def on_validation(data: FeatureSet) -> FeatureSet:
    """Return the data without test rows: validation rows are "test", and half of the heads' groups "validation"."""
    heads = sorted({group for group, split in zip(data.groups, data.splits, strict=True) if split == "heads"})
    chosen = set(heads[::2])
    rows = [row for row, split in enumerate(data.splits) if split != "test"]
    kept = data.select(rows)
    splits = [
        "test" if split == "validation" else "validation" if group in chosen else split
        for group, split in zip(kept.groups, kept.splits, strict=True)
    ]
    return replace(kept, splits=tuple(splits))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure sets of the emoji data on other encoders.")
    parser.add_argument("sets", type=Path, nargs="+", metavar="SET2", help="emoji features of other encoders")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="seeds of the sets (default: 0 1 2)")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="a setting of the mixtures")
    parser.add_argument("--validation", action="store_true", help="score validation rows, and write nothing")
    parser.add_argument("--only", choices=("all", "free", "sparse"), default="all", help="which sets to measure")
    add_device(parser)
    arguments = parser.parse_args()
    computer, started_at = machine(arguments.device), time.monotonic()
    emoji, targets = load("emoji"), [load(path) for path in arguments.sets]
    if arguments.validation:
        emoji, targets = on_validation(emoji), [on_validation(data) for data in targets]
        targets = [replace(data, location=path.name) for data, path in zip(targets, arguments.sets, strict=True)]

    def runs(preset: str, *settings: str) -> list[DistillResult]:
        place = {"device": arguments.device, "progress": False}
        return [
            distill(emoji, preset=preset, size=SIZE, seed=seed, settings=settings, **place) for seed in arguments.seeds
        ]

    def measured(of: list[DistillResult], **changes: object) -> str:
        settings = TransferSettings().evolve(**changes)
        result = transfer(of, targets, data=emoji, settings=settings, device=arguments.device)
        tables.append(result.to_json())
        print(result.table(), flush=True)
        return result.table()

    tables: list[object] = []
    parts: list[str] = []
    if arguments.only != "sparse":
        parts.append(measured(runs("anchor")))
    if arguments.only != "free":
        for count in ITEMS_PER_ROW:
            of = runs("mixture", f"distill.items_per_row={count}", *arguments.settings)
            parts += [f"### {count} items per row", measured(of, options=("mixture",), references=False)]
    if arguments.validation or arguments.device.type != "cpu" or arguments.only != "all":
        return
    minutes = (time.monotonic() - started_at) / 60
    text = f"{computer} {minutes:.0f} minutes.\n\n" + "\n\n".join(parts) + "\n"
    (RESULTS / "transfer.md").write_text(text)
    record = {"machine": computer, "minutes": minutes, "tables": tables}
    (RESULTS / "transfer.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
