"""How benchmarks measure: cases in turns, ratios within a turn, peaks in processes of their own; and tables of them."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

BENCH = Path(__file__).with_name("bench.py")
RESULTS = Path(__file__).parent / "results"

Case = Callable[[], object]


@dataclass(frozen=True)
class Spread:
    """Median, least and largest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_rounded(self.median)} ({_rounded(self.low)} - {_rounded(self.high)})"


Cell = str | int | float | Spread


@dataclass(frozen=True)
class Table:
    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def markdown(self) -> str:
        lines = [self.columns, ["---"] * len(self.columns), *([_shown(cell) for cell in row] for row in self.rows)]
        return "\n".join([f"## {self.title}", "", self.note, "", *(f"| {' | '.join(line)} |" for line in lines), ""])


def interleaved(cases: Mapping[str, Case], turns: int) -> dict[str, list[float]]:
    """Seconds of every case in every turn."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(turns + 1):
        for name, case in cases.items():
            begun = time.perf_counter()
            case()
            if turn:
                times[name].append(time.perf_counter() - begun)
    return times


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def milliseconds(seconds: Sequence[float]) -> Spread:
    return spread([1e3 * value for value in seconds])


def ratio(times: Mapping[str, Sequence[float]], above: str, below: str) -> float:
    return statistics.median(a / b for a, b in zip(times[above], times[below], strict=True))


def peak_megabytes(*case: str | int) -> float:
    """Peak of a case in a process of its own."""
    command = [sys.executable, str(BENCH), "--peak", json.dumps(case)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def memory_status(field: str) -> int:
    """A field of /proc/self/status, kB (the peak of getrusage would count that of the parent process)."""
    return int(status_field(Path("/proc/self/status"), field).split()[0])


def machine() -> str:
    cores, model = len(os.sched_getaffinity(0)), status_field(Path("/proc/cpuinfo"), "model name")
    return (
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; {cores} cores of {model} "
        f"({torch.backends.cpu.get_cpu_capability()}); load before the run {os.getloadavg()[0]:.1f}."
    )


def status_field(path: Path, name: str) -> str:
    """What stands behind `name:` in a file of /proc."""
    lines = (line.partition(":") for line in path.read_text().splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "unknown")


def _shown(cell: Cell) -> str:
    match cell:
        case int():
            return f"{cell:,}"
        case float():
            return _rounded(cell)
        case _:
            return str(cell)


def _rounded(value: float) -> str:
    """Three significant digits, no exponent."""
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{digits}f}"
