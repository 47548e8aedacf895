"""Compare the estimates of `--dry-run` with the real costs: `python benchmarks/dry_run.py [--only NAME]`.

Each command runs twice, first with and then without `--dry-run`, each time in a separate process. The data are the
bundled dataset, planted data, and pictures of noise. A ratio is estimate / real cost: 1 is exact, and above 1 the
estimate is too high. Bytes are the total size of all files that the command writes; memory is the peak of its largest
process. Writes results/dry_run.json and .md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from datasets import DATA
from measuring import RESULTS, Cell, Table, machine, status_field
from omnidistill.data.featureset import prepare
from omnidistill.data.store import save_features

NOTE = (
    "The last three columns are estimate / real cost; memory is that of the largest process, including Ray's workers. "
    "Each command ran once, on the bundled dataset unless its name says otherwise."
)
COLUMNS = ("command", "dry run s", "real s", "real MB", "real peak MB", "minutes", "bytes", "memory")
RAY = ("--engine", "ray")
RECOMMENDED = ("distill", "--preset", "recommended")
THREE = ("compare", "emoji", "--methods", "hopa,apm,k-medoids", "--sizes", "30")
FEW = ("--set", "distill.iterations=100", "--seeds", "0", "--students", "2")
COMMANDS = {
    "experts, HoPA": ("experts", "emoji", "--preset", "hopa"),
    "experts, HoPA, 3 starts": ("experts", "emoji", "--preset", "hopa", "--set", "experts.num_starts=3"),
    "experts, HoPA, on Ray": ("experts", "emoji", "--preset", "hopa", *RAY),
    "distill, default, N = 100": ("distill", "emoji"),
    "distill, default, 1 %": ("distill", "emoji", "--bytes", "1%"),
    "distill, recommended, N = 30": (*RECOMMENDED, "emoji", "--size", "30", "--set", "distill.iterations=150"),
    "distill, HoPA, N = 100": ("distill", "emoji", "--preset", "hopa", "--set", "distill.iterations=250"),
    "compare, three methods": (*THREE, *FEW),
    "compare, three methods, on Ray": (*THREE, *FEW, *RAY),
    "encode, pictures and texts": ("encode", "MANIFEST", "--encoder", "efficientnet-lite2", "--encoder", "minilm-l6"),
    "encode, on Ray": ("encode", "MANIFEST", "--encoder", "efficientnet-lite2", "--encoder", "minilm-l6",
                       "--shard", "128", *RAY),
    "distill, recommended, planted, M = 4": (*RECOMMENDED, "PLANTED4", "--size", "50", *FEW[:2]),
    "compare, planted, M = 4": ("compare", "PLANTED4", "--methods", "mtt,herding,covmatch,el2n", "--sizes", "50", *FEW),
    "distill, recommended, planted, M = 2": (*RECOMMENDED, "PLANTED2", "--size", "50", *FEW[:2]),
    "compare, planted, M = 2": ("compare", "PLANTED2", "--methods", "lors,k-center,apm", "--sizes", "40", *FEW),
}  # fmt: skip
PICTURES = 400


def write_manifest(folder: Path) -> Path:
    """Write JPEG pictures of noise (320 x 240), each with a sentence, and return the path of their manifest."""
    lines = []
    for number in range(PICTURES):
        pixels = np.random.default_rng(number).integers(0, 256, (240, 320, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg")
        text = f"picture {number}, which shows nothing but noise in every colour that there is"
        split = ("train", "validation", "test")[number % 3]
        lines.append(json.dumps({"id": str(number), "split": split, "image": f"{number}.jpg", "text": text}))
    (folder / "items.jsonl").write_text("\n".join(lines))
    return folder / "items.jsonl"


def write_planted(folder: Path, num_modalities: int) -> Path:
    """Store planted data from benchmarks/datasets.py as a feature set and return its folder."""
    named = next(make for name, make in DATA.items() if name.startswith(f"planted, M = {num_modalities}"))
    save_features(prepare(named()), folder / "PLANTED")
    return folder / "PLANTED"


def done(arguments: tuple[str, ...]) -> tuple[dict[str, Any], float, int]:
    """Return what a command prints as JSON, its seconds, and the peak memory in bytes of its largest process."""
    begun = time.monotonic()
    with tempfile.TemporaryFile() as printed:
        command = [sys.executable, "-m", "omnidistill", *arguments, "--json"]
        process = subprocess.Popen(command, stdout=printed, stderr=subprocess.DEVNULL)
        peak = largest_of(process)
        assert process.returncode == 0, arguments
        printed.seek(0)
        return json.loads(printed.read()), time.monotonic() - begun, peak


def largest_of(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process; return the peak resident memory, in bytes, of the largest among it and its descendants."""
    largest = 0
    while process.returncode is None:
        largest = max([largest, *(field_of(pid, "VmHWM") for pid in tree(process.pid))])
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
    return 1024 * largest


def tree(root: int) -> list[int]:
    """Return the ids of a process and of all its descendants."""
    parents = {int(path.name): field_of(int(path.name), "PPid") for path in Path("/proc").glob("[0-9]*")}
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def field_of(pid: int, name: str) -> int:
    """Return a number from /proc/PID/status; 0 if the process has ended or the field does not exist."""
    with suppress(OSError, ValueError):
        return int(status_field(Path(f"/proc/{pid}/status"), name).split()[0])
    return 0


def measured(name: str, arguments: tuple[str, ...]) -> tuple[Cell, ...]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        made = {
            "MANIFEST": lambda: write_manifest(Path(folder)),
            "PLANTED4": lambda: write_planted(Path(folder), 4),
            "PLANTED2": lambda: write_planted(Path(folder), 2),
        }
        arguments = tuple(str(made[each]()) if each in made else each for each in arguments)
        command = (*arguments, "-o", str(out))
        estimate, trying, _ = done((*command, "--dry-run"))
        _, seconds, peak = done(command)
        num_bytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    ratios = (estimate["seconds"] / seconds, estimate["bytes"] / num_bytes, estimate["peak_bytes"] / peak)
    print(
        f"{name}: {seconds:.0f} s; minutes, bytes, memory {', '.join(f'{ratio:.2f}' for ratio in ratios)}", flush=True
    )
    return (name, trying, seconds, num_bytes / 1e6, peak / 1e6, *ratios)


def kept() -> dict[str, tuple[Cell, ...]]:
    """Return the rows of earlier runs, by command."""
    path = RESULTS / "dry_run.json"
    return {row[0]: tuple(row) for row in json.loads(path.read_text())["rows"]} if path.exists() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", choices=COMMANDS, help="run only this command; the rows of the other commands stay unchanged"
    )
    options = parser.parse_args()
    found = kept()
    for name in [options.only] if options.only else COMMANDS:
        found[name] = measured(name, COMMANDS[name])
        rows = tuple(found[each] for each in COMMANDS if each in found)
        table = Table("Dry run", f"{NOTE} {machine()}", COLUMNS, rows)
        (RESULTS / "dry_run.json").write_text(json.dumps(asdict(table), indent=1))
        (RESULTS / "dry_run.md").write_text(table.markdown())
    print(table.markdown())


if __name__ == "__main__":
    main()
