"""The main path on a set made on disk, chunk by chunk: `python scale_job.py FOLDER ROWS`; prints what memory it took.

The measure is RssAnon: what no file backs. Pages of a mapped file count as resident too, but the system takes them back
when memory is short.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import numpy as np

from omnidistill.data.pack import pack
from omnidistill.evaluation.baselines import Setting, baselines
from omnidistill.evaluation.distilled_row import train_on_sets
from omnidistill.evaluation.scores import score_rows
from omnidistill.experiments.config import load_config
from small_runs import run_distill

WIDTHS = {"image": 512, "sound": 512}
OTHERS = {"heads": 256, "validation": 128, "test": 256}
SETTINGS = (
    "heads.width=16",
    "heads.num_epochs=1",
    "experts.num_experts=2",
    "experts.num_epochs=1",
    "experts.learning_rate=0.3",
    "experts.batch_size=512",
    "distill.iterations=4",
    "distill.validate_every=4",
    "distill.size=16",
    "distill.num_student_steps=8",
    "evaluate.num_seeds=2",
    "evaluate.max_epochs=1",
    "evaluate.learning_rates=[0.3]",
    "evaluate.batch_size=512",
)
MATCHED = ("distill.outer.num_expert_epochs=1", "distill.outer.max_start_epoch=1")


class Peak:
    """The largest RssAnon seen, in bytes."""

    def __init__(self) -> None:
        self.bytes = anonymous()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            self.bytes = max(self.bytes, anonymous())
            time.sleep(0.005)


def anonymous() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def write_sources(folder: Path, num_train: int) -> tuple[Path, Path]:
    """One .npy a modality and a table, its splits interleaved; planted: a latent through a random map, and noise."""
    features, table = folder / "features", folder / "table.csv"
    features.mkdir(parents=True)
    generator = np.random.default_rng(0)
    splits = np.array([name for name, count in (OTHERS | {"train": num_train}).items() for _ in range(count)])
    generator.shuffle(splits)
    table.write_text("id,split\n" + "".join(f"{row},{split}\n" for row, split in enumerate(splits)))
    maps = {name: generator.normal(size=(16, width)) / 4 for name, width in WIDTHS.items()}
    files = {
        name: np.lib.format.open_memmap(features / f"{name}.npy", "w+", np.float16, (len(splits), width))
        for name, width in WIDTHS.items()
    }
    for begin in range(0, len(splits), 2048):
        latent = generator.normal(size=(min(2048, len(splits) - begin), 16))
        for name, file in files.items():
            noise = generator.normal(size=(len(latent), WIDTHS[name]))
            file[begin : begin + len(latent)] = np.tanh(latent @ maps[name]) + 0.5 * noise
    return features, table


def job(folder: Path, num_train: int) -> dict[str, int]:
    features, table = write_sources(folder, num_train)
    peak = Peak()
    pack(features, table, folder / "SET")
    recommended = load_config(preset="recommended", overrides=SETTINGS)
    hopa = load_config(preset="hopa", overrides=[*SETTINGS, *MATCHED])
    for name, config in (("recommended", recommended), ("hopa", hopa)):
        run = run_distill(str(folder / "SET"), config, folder / name)
        data, evaluate = run.data(), config.evaluate
        start = run.heads(data)
        setting = Setting(data.development(), start, evaluate, 0)
        rows = {
            "zero_shot": baselines.build("zero-shot").fit(setting),
            "distilled": train_on_sets(run.sets(), start, evaluate, 0),
            "full": baselines.build("full").fit(setting),
        }
        score_rows(rows, data.split("test"))
    return {"peak": peak.bytes, "data": data.bytes}


if __name__ == "__main__":
    print(json.dumps(job(Path(sys.argv[1]), int(sys.argv[2]))))
