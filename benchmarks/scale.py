"""Measure how time and memory grow with the number of rows: `python benchmarks/scale.py [--rows 1000 10000 ...]`.

Planted features of three modalities (width 128, half precision) are written to disk chunk by chunk. Then the main steps
run: pack, open, fingerprint, heads, an epoch of experts, iterations of the outer loop (preset "recommended"), recall on
the test split. In addition, recall alone is measured for growing galleries. Every size runs in a separate process.
Seconds are processor time, which hardly depends on other load on the machine. Memory is RssAnon (memory that is not
backed by files), sampled; the resident memory would also count pages of mapped files, which the system can reclaim when
memory is short. Writes results/scale.md and .json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from measuring import RESULTS, Table, machine, memory_status
from omnidistill.data.datasets import load
from omnidistill.data.fingerprint import fingerprint
from omnidistill.data.pack import pack
from omnidistill.evaluation.baselines import Setting, baselines
from omnidistill.evaluation.retrieval import rank
from omnidistill.evaluation.scores import rank_runs
from omnidistill.experiments.config import load_config
from omnidistill.experiments.run import load_or_create_heads
from omnidistill.experiments.run.expert_stage import load_or_train_experts
from omnidistill.methods import Task

WIDTHS = {"vision": 128, "text": 128, "audio": 128}
OTHERS = {"heads": 500, "validation": 500, "test": 1000}
ROWS = (1_000, 10_000, 100_000, 1_000_000)
GALLERIES = (1_000, 10_000, 100_000)
ITERATIONS, WIDTH, BATCH, HEADS_EPOCHS = 20, 64, 128, 2
SETTINGS = (
    f"heads.width={WIDTH}",
    f"heads.num_epochs={HEADS_EPOCHS}",
    "experts.num_experts=1",
    "experts.num_epochs=1",
    "experts.learning_rate=0.3",
    f"experts.batch_size={BATCH}",
    f"distill.iterations={ITERATIONS}",
    "distill.validate_every=0",
    "distill.size=50",
)
Result = TypeVar("Result")


class Stages:
    """Records the processor seconds and the peak anonymous memory of every stage.

    Memory is in MB, in addition to that of the process at its start.
    """

    def __init__(self) -> None:
        self.all: dict[str, tuple[float, float]] = {}
        self._peak = self._begun = memory_status("RssAnon")
        threading.Thread(target=self._sample, daemon=True).start()

    def of(self, name: str, action: Callable[[], Result]) -> Result:
        self._peak, begun = memory_status("RssAnon"), time.process_time()
        result = action()
        seconds = time.process_time() - begun
        self._peak = max(self._peak, memory_status("RssAnon"))
        self.all[name] = seconds, (self._peak - self._begun) / 1024
        return result

    def _sample(self) -> None:
        while True:
            self._peak = max(self._peak, memory_status("RssAnon"))
            time.sleep(0.01)


def make(folder: Path, num_train: int) -> tuple[Path, Path]:
    """Write one .npy file per modality, and a table of ids and splits in random order; return both paths."""
    features, table = folder / "features", folder / "table.csv"
    features.mkdir()
    generator = np.random.default_rng(0)
    splits = np.array([name for name, count in (OTHERS | {"train": num_train}).items() for _ in range(count)])
    generator.shuffle(splits)
    with table.open("w") as file:
        file.write("id,split\n")
        file.writelines(f"{row},{split}\n" for row, split in enumerate(splits))
    maps = {name: generator.normal(size=(16, width)).astype(np.float32) / 4 for name, width in WIDTHS.items()}
    files = {
        name: np.lib.format.open_memmap(features / f"{name}.npy", "w+", np.float16, (len(splits), width))
        for name, width in WIDTHS.items()
    }
    for begin in range(0, len(splits), 4096):
        count = min(4096, len(splits) - begin)
        latent = generator.standard_normal((count, 16), np.float32)
        for name, file in files.items():
            noise = generator.standard_normal((count, WIDTHS[name]), np.float32)
            file[begin : begin + count] = np.tanh(latent @ maps[name]) + 0.5 * noise
    return features, table


def job(folder: Path) -> dict[str, Any]:
    """Run all stages on the sources in `folder`, and return their seconds and memory."""
    config, place, stages = load_config(preset="recommended", overrides=SETTINGS), folder / "SET", Stages()
    stages.of("pack", lambda: pack(folder / "features", folder / "table.csv", place))
    data = stages.of("open", lambda: load(place))
    stages.of("fingerprint", lambda: fingerprint(data))
    start = stages.of("heads", lambda: load_or_create_heads(data, config, folder / "heads"))
    buffer = stages.of("experts", lambda: load_or_train_experts(data, start, config, folder / "experts"))
    task = Task(data.development(), start, config.seed, config.experts, folder, lambda: buffer)
    stages.of("distil", lambda: config.distill.run(task))
    setting = Setting(task.development, start, config.evaluate, config.seed)
    zero_shot = baselines.build("zero-shot").fit(setting)
    stages.of("recall", lambda: rank_runs(zero_shot, data.split("test")))
    return {"rows": len(data), "train": data.split_sizes["train"], "bytes": data.bytes, "stages": stages.all}


def recall(gallery: int) -> dict[str, Any]:
    """Rank as many queries as the test split has in a gallery of this size, and return seconds and memory."""
    generator = torch.Generator().manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(gallery, WIDTH, generator=generator), dim=1)
    groups, stages, queries = torch.arange(gallery), Stages(), min(gallery, OTHERS["test"])
    stages.of("recall", lambda: rank(z[:queries], z, groups[:queries], groups))
    return {"queries": queries, "gallery": gallery, "stages": stages.all}


def in_a_process(*arguments: object) -> dict[str, Any]:
    command = [sys.executable, __file__, *map(str, arguments)]
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))


def grown(rows: Sequence[int]) -> list[dict[str, Any]]:
    found = []
    for num_train in rows:
        print(f"{num_train:,} training rows", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="scale-") as place:
            make(Path(place), num_train)
            found.append(in_a_process("--job", place))
    return found


def tables(found: list[dict[str, Any]], recalls: list[dict[str, Any]]) -> list[Table]:
    stages, setting = list(found[0]["stages"]), f"widths {', '.join(f'{n} {w}' for n, w in WIDTHS.items())}"
    others = ", ".join(f"{count:,} {split}" for split, count in OTHERS.items())
    seconds = Table(
        "Seconds",
        f"Processor seconds with one thread; {setting}; in addition to the training rows, {others}. pack: from .npy "
        f"files in half precision. heads: {HEADS_EPOCHS} epochs on the heads split. experts: one expert, one epoch, "
        f"head width {WIDTH}, batch size {BATCH}. distil: {ITERATIONS} iterations of 64 steps for 50 rows, task loss "
        "on 512 rows, no validation. recall: all 6 directions on the test split.",
        ("training rows", "set, MB", *stages),
        tuple((each["train"], each["bytes"] / 2**20, *(each["stages"][name][0] for name in stages)) for each in found),
    )
    memory = Table(
        "Peak of anonymous memory, MB",
        "RssAnon (sampled) in addition to that of the process at its start (Python and torch, about 150 MB). It grows "
        "because ids, groups and splits are Python strings.",
        ("training rows", "set, MB", *stages),
        tuple((each["train"], each["bytes"] / 2**20, *(each["stages"][name][1] for name in stages)) for each in found),
    )
    rows = []
    for each in recalls:
        pairs, (took, memory_taken) = each["queries"] * each["gallery"], each["stages"]["recall"]
        rows.append((each["queries"], each["gallery"], took, 1e9 * took / pairs, memory_taken))
    note = f"Exact ranks in one direction, embedding width {WIDTH}; at most 64 MB of scores are in memory at a time."
    columns = ("queries", "gallery", "s", "ns per pair", "anonymous MB")
    return [seconds, memory, Table("Recall", note, columns, tuple(rows))]


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Measure time and memory of the main steps as the number of rows grows."
    )
    parser.add_argument(
        "--rows", type=int, nargs="+", default=ROWS, help="numbers of training rows; each gives one row of the tables"
    )
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--recall", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job or arguments.recall:
        print(json.dumps(job(arguments.job) if arguments.job else recall(arguments.recall)))
        return
    computer = machine()
    made = tables(grown(arguments.rows), [in_a_process("--recall", gallery) for gallery in GALLERIES])
    text = "\n".join([f"# Scale\n\n{computer} Created by scale.py.\n", *(table.markdown() for table in made)])
    print(text)
    if tuple(arguments.rows) == ROWS:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "scale.md").write_text(text)
        record = {"machine": computer, "tables": [asdict(table) for table in made]}
        (RESULTS / "scale.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
