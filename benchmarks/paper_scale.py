"""Run HoPA at the scale of the paper: `python benchmarks/paper_scale.py [--size 100|500] [--quick]`.

The planted features have the shape of MSR-VTT features from ImageBind (9,000 training rows with widths 1280, 1024 and
768; the heads have width 1024). The job is that of the paper: 20 experts x 10 epochs, then 2,000 outer iterations for
N = 100, or 3,000 for N = 500, with five validations. Settings are those of the preset paper/hopa-msrvtt-N, except for
those in `SETTINGS`: exact gradients instead of TESLA's, and learning rates for standardised features. A separate
process creates the features, so that peak memory is that of the job alone. Writes results/paper_scale_N.md and .json; a
quick run (2 experts, 40 iterations) only prints.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from measuring import RESULTS, Table, add_device, machine, memory_status
from omnidistill.data.featureset import prepare
from omnidistill.data.planted import planted
from omnidistill.data.store import save_features
from omnidistill.experiments.config import RunConfig, load_config
from omnidistill.experiments.run import distill
from omnidistill.io.tracking import SilentProgress

WIDTHS = {"vision": 1280, "text": 1024, "audio": 768}
ROWS = {"heads": 500, "train": 9000, "validation": 500, "test": 1000}
LATENT, NOISE = 32, 2.0
STEP_SIZE = 1.0  # of experts, and initially of students; 0.3 is slow, with 3 they learn nearly everything in an epoch
SETTINGS = (
    "heads.width=1024",
    f"experts.learning_rate={STEP_SIZE}",
    f"distill.initial_step_size={STEP_SIZE}",
    'distill.rollout="auto"',
    'distill.optimiser.kind="adam"',
)
QUICK = ("experts.num_experts=2", "distill.iterations=40", "distill.validate_every=8")


@dataclass
class Stage:
    """A part of the job: its seconds, and its peak memory in MB (all resident memory, and the part without files)."""

    name: str
    seconds: float = 0.0
    peak: float = 0.0
    anonymous: float = 0.0


class Stages(SilentProgress):
    """Records the seconds and the peak memory of every stage, from its start to the start of the next stage.

    The kernel records the peak of resident memory, and the mark is reset between stages. It does not record the peak of
    anonymous memory, which is therefore sampled.
    """

    def __init__(self) -> None:
        self.all = [Stage("open")]
        self._begun = time.perf_counter()
        threading.Thread(target=self._sample, daemon=True).start()

    def start(self, total: int, label: str, done: int = 0, seconds: float = 0.0) -> None:
        print(f"{label}: {total} steps", file=sys.stderr, flush=True)
        self.finish()
        self.all.append(Stage(label.split()[0]))

    def finish(self) -> None:
        now = time.perf_counter()
        self.all[-1].seconds, self.all[-1].peak = now - self._begun, memory_status("VmHWM") / 1024
        self._begun = now
        Path("/proc/self/clear_refs").write_text("5")

    def _sample(self) -> None:
        while True:
            stage = self.all[-1]
            stage.anonymous = max(stage.anonymous, memory_status("RssAnon") / 1024)
            time.sleep(0.02)


def job(size: int, quick: bool, device: torch.device) -> list[Table]:
    config = load_config(preset=f"paper/hopa-msrvtt-{size}", overrides=[*SETTINGS, *(QUICK if quick else ())])
    before = memory_status("VmRSS") / 1024
    with tempfile.TemporaryDirectory(prefix="paper-scale-") as place:
        features, run = Path(place) / "features", Path(place) / "run"
        subprocess.run([sys.executable, __file__, "--make", str(features)], check=True)
        stages = Stages()
        distill(features, config=config, folder=run, progress=stages, device=device)
        stages.finish()
        records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [resources(stages.all, before, config), outcome(records)]


def make(folder: Path) -> None:
    save_features(prepare(planted(WIDTHS, ROWS, latent=LATENT, noise=NOISE)), folder)


def resources(stages: list[Stage], before: float, config: RunConfig) -> Table:
    features = 4 * sum(ROWS.values()) * sum(WIDTHS.values()) / 2**20
    total = Stage(
        "total",
        sum(stage.seconds for stage in stages),
        max(stage.peak for stage in stages),
        max(stage.anonymous for stage in stages),
    )
    rows = tuple(
        (stage.name, stage.seconds, stage.peak, stage.peak - features, stage.anonymous) for stage in [*stages, total]
    )
    settings: Any = config.distill
    experts, outer = config.experts, settings.outer
    note = (
        f"{sum(ROWS.values()):,} rows ({', '.join(f'{count:,} {split}' for split, count in ROWS.items())}) of "
        f"{', '.join(f'{name} {width}' for name, width in WIDTHS.items())}: {features:.0f} MB in float32, planted with "
        f"latent {LATENT} and noise {NOISE:g}, heads {config.heads.width} wide. "
        f"{experts.num_experts} experts x {experts.num_epochs} epochs, batch {experts.batch_size}, step size "
        f"{experts.learning_rate:g}; N = {settings.size}, {settings.iterations:,} iterations, T = "
        f"{settings.num_student_steps}, b = {settings.batch}, {outer.num_expert_epochs} expert epochs from starts "
        f"below {outer.max_start_epoch}, a validation every {settings.validate_every} iterations; exact gradients, "
        f"Adam. Peak: resident memory in MB (VmHWM); {before:.0f} MB of it are Python and torch before any file is "
        "opened. beside features: the peak minus the size of the features. anonymous: the part that is not backed by "
        "files (sampled)."
    )
    columns = ("stage", "s", "peak MB", "beside features", "anonymous MB")
    return Table(f"The paper's job, N = {settings.size}", note, columns, rows)


def outcome(records: list[dict[str, Any]]) -> Table:
    losses = [record["loss"] for record in records if "loss" in record]
    last = max(1, len(losses) // 10)
    validated = [record for record in records if "validation" in record]
    rows = tuple(
        (
            record["iteration"],
            sum(seen := losses[max(0, record["iteration"] - last) : record["iteration"]]) / len(seen)
            if record["iteration"]
            else "",
            record["validation"],
        )
        for record in validated
    )
    note = (
        f"Matching loss (sum over {len(WIDTHS)} modalities, mean over the preceding {last} iterations) and validation "
        "score (mean of R@1, R@5 and R@10 over all directions) of the set at each iteration; the set at iteration 0 "
        "consists of real rows."
    )
    return Table("Result", note, ("iteration", "matching loss", "validation"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the time and memory of HoPA at the scale of the paper.")
    parser.add_argument("--size", type=int, choices=(100, 500), default=100, help="number N of synthetic rows")
    parser.add_argument("--quick", action="store_true", help="2 experts and 40 iterations; only prints")
    add_device(parser)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        make(arguments.make)
        return
    computer = machine(arguments.device)
    tables = job(arguments.size, arguments.quick, arguments.device)
    text = "\n".join(
        [f"# Paper scale\n\n{computer} Created by paper_scale.py.\n", *(table.markdown() for table in tables)]
    )
    print(text)
    if not arguments.quick and arguments.device.type == "cpu":
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"paper_scale_{arguments.size}.md").write_text(text)
        record = {"machine": computer, "tables": [asdict(table) for table in tables]}
        (RESULTS / f"paper_scale_{arguments.size}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
