"""Checks of the machine and the installation: versions, extras, devices, threads, disk space and speed.

Facts are stored as JSON values. A problem that only slows work down becomes a warning with a remedy. A required part
that does not work is listed as broken.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from packaging.requirements import Requirement

from omnidistill.core.memory import cores

PACKAGE = "omnidistill"
VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "NO_COLOR", "FORCE_COLOR", "TMPDIR"),
    *("HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_TOKEN"),
)
"""Environment variables that affect omnidistill. The values of tokens are never shown."""

_LEAST_DISK = 2 * 10**9  # bytes
_MATRIX_SIZE, _MAX_SECONDS = 768, 0.2  # for each speed measurement


@dataclass
class Examination:
    """Result of `examine`.

    Attributes:
        facts: {section: {name: value}}.
        warnings: one line per warning.
        broken: one line per required part that does not work.
    """

    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def content(self) -> dict[str, Any]:
        """Return the facts, warnings and broken parts as JSON values."""
        return {**self.facts, "warnings": self.warnings, "broken": self.broken}

    def lines(self) -> list[str]:
        """Return the result as text, one fact per line."""
        lines: list[str] = []
        for section, facts in self.facts.items():
            lines += [section, *(f"  {name:16}  {value}" for name, value in facts.items()), ""]
        lines += [f"broken   {line}" for line in self.broken]
        lines += [f"warning  {line}" for line in self.warnings]
        if self.broken:
            return lines
        warnings = f"{len(self.warnings)} warning{'s' if len(self.warnings) > 1 else ''}"
        return [*lines, f"ready    {warnings if self.warnings else 'no problems found'}"]


def examine() -> Examination:
    """Examine the machine and the installation. This takes about a second and writes nothing."""
    result = Examination()
    for check in (_versions, _extras, _devices, _speed, _disk, _environment):
        check(result)
    return result


def _versions(result: Examination) -> None:
    facts = {"python": platform.python_version(), "platform": platform.platform()}
    if sys.version_info < (3, 11):  # noqa: UP036 (not every installer checks the version, as pip does)
        result.broken.append(f"Python {platform.python_version()}: omnidistill needs 3.11 or newer")
    facts[PACKAGE] = metadata.version(PACKAGE)
    for requirement in _requirements():
        facts[requirement.name] = _version(requirement.name) or "missing"
        if why := _unfit(requirement):
            result.broken.append(f"{why}: pip install '{requirement.name}{requirement.specifier}'")
    result.facts["versions"] = facts


def _extras(result: Examination) -> None:
    facts = {}
    for extra in metadata.metadata(PACKAGE).get_all("Provides-Extra") or ():
        if extra == "dev":
            continue
        missing = list(dict.fromkeys(_missing(extra)))
        facts[extra] = "ready" if not missing else f"{', '.join(missing)}: pip install '{PACKAGE}[{extra}]'"
    result.facts["extras"] = facts


def _devices(result: Examination) -> None:
    available, load = cores(), _load()
    facts: dict[str, Any] = {"cores": available, "load": round(load, 1)}
    if memory := _memory():
        facts["memory GB"], facts["free memory GB"] = (round(each / 1e9, 1) for each in memory)
    card = shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia/version").exists()
    if (torch := _torch(result)) is not None:
        facts["torch threads"] = threads = torch.get_num_threads()
        cards = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
        facts["cuda"] = cards if torch.cuda.is_available() else "none"
        if card and torch.version.cuda is None:
            result.warnings.append("this machine has a GPU, but torch is a CPU build: install a CUDA build of torch")
        elif card and not cards:
            result.warnings.append("torch does not find this machine's GPU: check CUDA_VISIBLE_DEVICES and the driver")
        if threads > available:
            result.warnings.append(
                f"torch uses {threads} threads on only {available} cores: set OMP_NUM_THREADS={available}"
            )
        elif threads > 1 and load > available:
            result.warnings.append(
                f"the machine is busy (load {load:.1f} on {available} cores), so threads wait for each other: "
                "set OMP_NUM_THREADS=1"
            )
    result.facts["devices"] = facts


def _speed(result: Examination) -> None:
    """Measure the GFLOP/s of a float32 matrix product, with one thread and with all threads."""
    if (torch := _torch(result)) is None:
        return
    before = torch.get_num_threads()
    facts = {}
    try:
        for threads in dict.fromkeys((1, before)):
            torch.set_num_threads(threads)
            facts[f"{threads} thread{'s' if threads > 1 else ''}"] = round(_flops(torch) / 1e9, 1)
    finally:
        torch.set_num_threads(before)
    alone, together = next(iter(facts.values())), list(facts.values())[-1]
    if before > 1 and together < 1.1 * alone:
        result.warnings.append(
            f"{before} threads are no faster than one ({together} and {alone} GFLOP/s): set OMP_NUM_THREADS=1"
        )
    result.facts["product GFLOP/s"] = facts


def _disk(result: Examination) -> None:
    facts: dict[str, Any] = {}
    for name, place in (("here", Path.cwd()), ("temporary", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(place).free
        facts[name] = f"{free / 1e9:.1f} GB free in {place}"
        if not os.access(place, os.W_OK):
            result.warnings.append(f"{place}: no write permission; choose another folder with -o")
        if free < _LEAST_DISK:
            result.warnings.append(f"{place}: only {free / 1e9:.1f} GB are free; expert buffers may need more")
    result.facts["disk"] = facts


def _environment(result: Examination) -> None:
    result.facts["environment"] = {name: _masked(name, os.environ[name]) for name in VARIABLES if name in os.environ}


def _masked(name: str, value: str) -> str:
    if "TOKEN" in name:
        return "set"
    if "://" in value:
        with suppress(ValueError):
            parts = urlsplit(value)
            return f"{parts.scheme}://{parts.hostname or ''}"
        return "set"
    return value


def _torch(result: Examination) -> Any:
    """Return the module torch. If it cannot be imported, add the error to `result.broken` once, and return None."""
    try:
        import torch
    except Exception as error:  # a broken installation may raise any exception
        line = f"torch cannot be loaded ({' '.join(str(error).split())}): reinstall it"
        if line not in result.broken:
            result.broken.append(line)
        return None
    return torch


def _flops(torch: Any) -> float:
    """Repeat a matrix product until the time limit, and return the operations per second of the fastest one."""
    shape = _MATRIX_SIZE, _MATRIX_SIZE
    left, right = (torch.full(shape, value, device="cpu") for value in (0.5, 0.25))
    left @ right
    best, started_at = float("inf"), time.perf_counter()
    while time.perf_counter() - started_at < _MAX_SECONDS:
        product_started_at = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - product_started_at)
    return float(2 * _MATRIX_SIZE**3 / best)


def _load() -> float:
    with suppress(AttributeError, OSError):  # Windows does not report the load
        return os.getloadavg()[0]
    return 0.0


def _memory() -> tuple[int, int] | None:
    """Return the total and available memory in bytes, or None if the system does not report them."""
    with suppress(OSError, KeyError, ValueError):
        rows = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        total, free = (1024 * int(rows[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
        return total, free
    return None


def _requirements(extra: str = "") -> Iterable[Requirement]:
    """Yield the package's required dependencies or, if an extra is given, only the dependencies that the extra adds."""
    for requirement in map(Requirement, metadata.requires(PACKAGE) or ()):
        marker = requirement.marker
        applies = {name: marker is None or marker.evaluate({"extra": name}) for name in ("", extra)}
        if applies[extra] and (not extra or not applies[""]):
            yield requirement


def _missing(extra: str) -> Iterable[str]:
    """Yield a line for each unmet requirement of an extra. If the extra includes other extras, check those too."""
    for requirement in _requirements(extra):
        if requirement.name == PACKAGE:
            for each in sorted(requirement.extras):
                yield from _missing(each)
        elif why := _unfit(requirement):
            yield why


def _unfit(requirement: Requirement) -> str | None:
    """Return "NAME is missing" or "NAME VERSION does not satisfy RANGE", or None if the requirement is met."""
    name, version = requirement.name, _version(requirement.name)
    if version is None:
        return f"{name} is missing"
    if requirement.specifier.contains(version, prereleases=True):
        return None
    return f"{name} {version} does not satisfy {requirement.specifier}"


def _version(name: str) -> str | None:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None
