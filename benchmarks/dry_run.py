"""What `--dry-run` says beside what then happens: `python benchmarks/dry_run.py [--only NAME]`.

On the bundled set, each command once as a rehearsal and once in earnest, in processes of their own one after the other.
A ratio is estimate / real: 1 is right, above 1 says too much. Bytes are of all files that the command leaves; memory is
the peak of its process. Writes results/dry_run.json and .md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from measuring import RESULTS, Cell, Table, machine

COMMANDS = {
    "experts, HoPA": ("experts", "emoji", "--preset", "hopa"),
    "distill, recommended, N = 30": ("distill", "emoji", "--size", "30", "--set", "distill.iterations=150"),
    "distill, HoPA, N = 100": ("distill", "emoji", "--preset", "hopa", "--set", "distill.iterations=250"),
    "compare, quick": ("compare", "emoji", "--preset", "quick", "--students", "2", "--set", "distill.iterations=150"),
}


def done(arguments: tuple[str, ...]) -> tuple[dict[str, Any], float, int]:
    """What a command prints as JSON, its seconds and its peak of memory in bytes."""
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "omnidistill", *arguments, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, arguments
    return json.loads(printed), time.monotonic() - begun, 1024 * used.ru_maxrss


def measured(name: str, arguments: tuple[str, ...]) -> tuple[Cell, ...]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = (*arguments, "-o", str(out))
        foreseen, trying, _ = done((*command, "--dry-run"))
        _, seconds, peak = done(command)
        num_bytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    ratios = (foreseen["seconds"] / seconds, foreseen["bytes"] / num_bytes, foreseen["peak_bytes"] / peak)
    print(
        f"{name}: {seconds:.0f} s; minutes, bytes, memory {', '.join(f'{ratio:.2f}' for ratio in ratios)}", flush=True
    )
    return (name, trying, seconds, num_bytes / 1e6, peak / 1e6, *ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=COMMANDS, help="one command; results are not written")
    options = parser.parse_args()
    names = [options.only] if options.only else list(COMMANDS)
    rows = tuple(measured(name, COMMANDS[name]) for name in names)
    columns = ("command", "rehearsal s", "real s", "real MB", "real peak MB", "minutes", "bytes", "memory")
    table = Table(
        "Dry run", f"The last three are estimate / real. Bundled set, one run each. {machine()}", columns, rows
    )
    print(table.markdown())
    if not options.only:
        (RESULTS / "dry_run.json").write_text(json.dumps(asdict(table), indent=1))
        (RESULTS / "dry_run.md").write_text(table.markdown())


if __name__ == "__main__":
    main()
