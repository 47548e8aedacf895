"""Measure sets of the emoji data on other encoders: `python benchmarks/transfer.py SET2 [SET2 ...] --work DIR`.

Writes results/transfer.json and .md. The arguments are sets of other encoders with the ids, groups and splits of the
bundled data, as `emoji_features.py` makes them. Sets of 100 rows are distilled from the bundled data with three seeds,
by the method "anchor", and with `--sparse` by the method "mixture" with few items per row. Validation rows of the new
encoders choose settings, and their test rows are scored once per row. DIR contains all sets, so an interrupted run
continues.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from measuring import RESULTS, add_device, machine
from omnidistill.data.datasets import load
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.experiments.run import DistillResult, distill
from omnidistill.experiments.transfer import Transfer, TransferSettings, transfer
from omnidistill.report.transfer_content import TransferContent

SIZE = 100
SEEDS = (0, 1, 2)
ITEMS_PER_ROW = (4, 16)
BASELINES = EvaluateConfig(num_seeds=2)
_NOTE = " Seconds depend on the load of the machine. Three sets of 100 rows; two runs per baseline."


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure sets of the emoji data on other encoders.")
    parser.add_argument("sets", type=Path, nargs="+", metavar="SET2", help="emoji features of other encoders")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="folder of the sets")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="seeds of the sets (default: 0 1 2)")
    parser.add_argument("--sparse", action="store_true", help="measure sparse mixtures, too (seed 0)")
    add_device(parser)
    arguments = parser.parse_args()
    computer, started_at = machine(arguments.device), time.monotonic()
    emoji, work = load("emoji"), arguments.work

    def runs(name: str, preset: str, seeds: list[int], *settings: str) -> list[DistillResult]:
        return [
            distill(
                emoji,
                preset=preset,
                size=SIZE,
                seed=seed,
                settings=settings,
                folder=work / f"{name}-n{SIZE}-s{seed}",
                resume=True,
                device=arguments.device,
                progress=False,
            )
            for seed in seeds
        ]

    def measured(name: str, of: list[DistillResult], settings: TransferSettings) -> Transfer:
        """Return the tables of all encoders. Those that were finished before are read from their files."""
        contents = []
        for path in arguments.sets:
            place = work / f"transfer-{name}" / path.name
            if not (place / "transfer.json").exists():
                place.mkdir(parents=True, exist_ok=True)
                (work / "sets").mkdir(exist_ok=True)
                if not (place / "sets").exists():
                    (place / "sets").symlink_to((work / "sets").resolve())  # all encoders share the learned mixtures
                transfer(of, path, data=emoji, settings=settings, folder=place, device=arguments.device)
            contents.append(TransferContent.from_json(json.loads((place / "transfer.json").read_text()), str(place)))
        return Transfer(contents[0].evolve(targets=[target for each in contents for target in each.targets]), {})

    settings = TransferSettings(references=("cca",), evaluate=BASELINES)
    tables = {"": measured("anchor", runs("anchor", "anchor", arguments.seeds), settings)}
    for count in ITEMS_PER_ROW if arguments.sparse else ():
        of = runs(f"mixture-{count}", "mixture", [0], f"distill.items_per_row={count}")
        few = settings.evolve(options=("mixture",), references=())
        tables[f"{count} items per row"] = measured(f"mixture-{count}", of, few)
    parts = [f"### {title}\n\n{table.table()}" if title else table.table() for title, table in tables.items()]
    print("\n\n".join(parts))
    if arguments.device.type != "cpu":
        return
    minutes = (time.monotonic() - started_at) / 60
    (RESULTS / "transfer.md").write_text(f"{computer}{_NOTE}\n\n" + "\n\n".join(parts) + "\n")
    trees = {title or "anchor": table.to_json() for title, table in tables.items()}
    record = {"machine": computer, "minutes": minutes, "tables": trees}
    (RESULTS / "transfer.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
