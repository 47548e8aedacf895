"""Measure sets of the emoji data that are rendered and read by another encoder.

    python benchmarks/rendered.py FOLDER SET2 --encoder NAME ... --work DIR

Writes results/rendered.json and .md. FOLDER is the output of `emoji_features.py` (its media are used), SET2 are emoji
features of other encoders, and `--encoder` names these encoders. Sets of 30 rows are distilled by the method "anchor".
All rows are rendered, the new encoders encode the rendered media, and `transfer` compares them with the other options.
DIR contains all results, so an interrupted run continues with the first unfinished step.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from measuring import RESULTS, machine
from omnidistill.data.datasets import load
from omnidistill.encoding.extraction.encode_set import encode
from omnidistill.encoding.inversion import InversionSettings
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.experiments.rendering import Rendered, render
from omnidistill.experiments.run import distill
from omnidistill.experiments.transfer import Transfer, TransferSettings, transfer
from omnidistill.report.transfer_content import TransferContent

SIZE = 30
SETTINGS = InversionSettings(captions=8)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure rendered sets of the emoji data on another encoder.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="output of emoji_features.py")
    parser.add_argument("to", type=Path, metavar="SET2", help="emoji features of other encoders")
    parser.add_argument("--encoder", action="append", required=True, metavar="NAME", help="an encoder of SET2")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="folder of the results")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds of the sets (default: 0)")
    arguments = parser.parse_args()
    computer, parts, records = machine(), [], []
    for seed in arguments.seeds:
        rendered, table = measured(arguments, seed)
        parts.append(f"### Seed {seed}\n\n{rendered.table()}\n\n{table.table()}")
        records.append({"seed": seed, "rendered": rendered.to_json(), "table": table.to_json()})
        print(parts[-1])
    note = f" Sets of {SIZE} rows; up to {SETTINGS.captions} captions per text. Seconds depend on the machine's load."
    (RESULTS / "rendered.md").write_text(f"{computer}{note}\n\n" + "\n\n".join(parts) + "\n")
    (RESULTS / "rendered.json").write_text(json.dumps({"machine": computer, "runs": records}, indent=1) + "\n")


def measured(arguments: argparse.Namespace, seed: int) -> tuple[Rendered, Transfer]:
    """Return the rendered media of one set, and the table of its transfer to the new encoders."""
    work, emoji = arguments.work / f"s{seed}", load("emoji")
    run = distill(
        emoji, preset="anchor", size=SIZE, seed=seed, folder=work / "run", resume=True, device="cpu", progress=False
    )
    media, place = work / "rendered", work / "transfer"
    if (media / "render.json").exists():
        rendered = Rendered.load(media)
    else:
        manifest = arguments.folder / "media" / "items.csv"
        rendered = render(run, manifest, media, rows=SIZE, settings=SETTINGS, data=emoji, force=True, device="cpu")
    if not (place / "transfer.json").exists():
        encode(rendered.manifest, arguments.encoder, work / "encoded", device="cpu", progress=False)
        settings = TransferSettings(references=(), evaluate=EvaluateConfig(num_seeds=3))
        transfer(
            run, arguments.to, data=emoji, settings=settings, rendered=work / "encoded", folder=place, device="cpu"
        )
    tree = json.loads((place / "transfer.json").read_text())
    return rendered, Transfer(TransferContent.from_json(tree, str(place)), {})


if __name__ == "__main__":
    main()
