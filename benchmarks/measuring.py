"""How benchmarks measure: alternating cases, ratios within a round, peak memory in separate processes; and tables."""

from __future__ import annotations

import argparse
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

from omnidistill.core.device import resolve_device
from omnidistill.core.errors import InputError

BENCH = Path(__file__).with_name("bench.py")
RESULTS = Path(__file__).parent / "results"

Case = Callable[[], object]
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Extent:
    """How much to measure, and on which device."""

    quick: bool = False
    device: torch.device = CPU


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum of measured values."""

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


def interleaved(cases: Mapping[str, Case], turns: int, device: torch.device = CPU) -> dict[str, list[float]]:
    """Run the cases alternately, and return the seconds of every case in every round.

    A first warm-up round is not counted. On a GPU, a case ends when the GPU has finished.
    """
    times: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(turns + 1):
        for name, case in cases.items():
            started_at = time.perf_counter()
            case()
            wait_for(device)
            if turn:
                times[name].append(time.perf_counter() - started_at)
    return times


def wait_for(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def milliseconds(seconds: Sequence[float]) -> Spread:
    return spread([1e3 * value for value in seconds])


def ratio(times: Mapping[str, Sequence[float]], above: str, below: str) -> float:
    return statistics.median(a / b for a, b in zip(times[above], times[below], strict=True))


def peak_megabytes(*case: str | int, device: torch.device = CPU) -> float:
    """Return the peak memory of a case in a separate process: resident on the CPU, allocated by torch on a GPU."""
    command = [sys.executable, str(BENCH), "--device", str(device), "--peak", json.dumps(case)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def memory_status(field: str) -> int:
    """Return a field of /proc/self/status in kB. The peak from getrusage would include that of the parent process."""
    return int(status_field(Path("/proc/self/status"), field).split()[0])


def machine(device: torch.device = CPU) -> str:
    """Return versions, device and load as text for the head of tables."""
    cores, model = len(os.sched_getaffinity(0)), status_field(Path("/proc/cpuinfo"), "model name")
    return (
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; {device_name(device)}{cores} cores of {model} "
        f"({torch.backends.cpu.get_cpu_capability()}); load before the run {os.getloadavg()[0]:.1f}."
    )


def device_name(device: torch.device) -> str:
    """Return "on NAME; " for a GPU, and an empty text for the CPU, which `machine` names in any case."""
    match device.type:
        case "cuda":
            return f"on {torch.cuda.get_device_name(device)} (CUDA {torch.version.cuda}); "
        case "mps":
            return "on the GPU of this Mac (MPS); "
        case _:
            return ""


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the option --device, as in the commands of the package."""
    text = "device to use: auto, cpu (the default), cuda, cuda:1 or mps"
    parser.add_argument("--device", type=_device, default=CPU, metavar="NAME", help=text)


def _device(name: str) -> torch.device:
    try:
        return resolve_device(name)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def status_field(path: Path, name: str) -> str:
    """Return the text after `name:` in a file in /proc, or "unknown"."""
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
    """Return the value with three significant digits and without exponent."""
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{digits}f}"
