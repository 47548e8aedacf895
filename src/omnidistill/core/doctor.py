"""Whether this machine and installation are fit for work: versions, extras, devices, threads, disk, speed.

Every fact is JSON; what deserves attention is a warning that says what to do, and what is needed but does not work is
broken.
"""

from __future__ import annotations

import os
import platform
import re
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

from omnidistill.core.memory import cores

PACKAGE = "omnidistill"
VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "NO_COLOR", "FORCE_COLOR", "TMPDIR"),
    *("HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_TOKEN"),
)
"""Variables that change what is done here; a token is only said to be set."""

_LEAST_DISK = 2 * 10**9  # bytes
_SIDE, _LONGEST = 768, 0.2  # of the matrices; seconds a measurement may take
_REQUIREMENT = re.compile(r"\s*([\w.-]+)(?:\[([\w,\s-]+)\])?\s*([^;]*)(?:;.*extra\s*==\s*['\"]([\w-]+)['\"])?")


@dataclass
class Examination:
    """facts: by section. warnings: one line each. broken: what is needed and does not work."""

    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def content(self) -> dict[str, Any]:
        """Everything, as JSON."""
        return {**self.facts, "warnings": self.warnings, "broken": self.broken}

    def lines(self) -> list[str]:
        """For people, one fact a line."""
        lines: list[str] = []
        for section, facts in self.facts.items():
            lines += [section, *(f"  {name:16}  {value}" for name, value in facts.items()), ""]
        lines += [f"broken   {line}" for line in self.broken]
        lines += [f"warning  {line}" for line in self.warnings]
        if self.broken:
            return lines
        warnings = f"{len(self.warnings)} warning{'s' if len(self.warnings) > 1 else ''}"
        return [*lines, f"ready    {warnings if self.warnings else 'nothing to mend'}"]


def examine() -> Examination:
    """Look at everything; takes about a second and writes nothing."""
    found = Examination()
    for look in (_versions, _extras, _devices, _speed, _disk, _environment):
        look(found)
    return found


def _versions(found: Examination) -> None:
    facts = {"python": platform.python_version(), "platform": platform.platform()}
    if sys.version_info < (3, 11):  # noqa: UP036 (an environment may have been made by hand)
        found.broken.append(f"Python {platform.python_version()}: needs 3.11 or newer")
    facts[PACKAGE] = metadata.version(PACKAGE)
    for name, _, needed in _requirements(None):
        facts[name] = _version(name) or "missing"
        if why := _unfit(name, needed):
            found.broken.append(f"{why}: pip install '{name}{needed}'")
    found.facts["versions"] = facts


def _extras(found: Examination) -> None:
    facts = {}
    for extra in metadata.metadata(PACKAGE).get_all("Provides-Extra") or ():
        if extra == "dev":
            continue
        missing = list(dict.fromkeys(_missing(extra)))
        facts[extra] = "ready" if not missing else f"{', '.join(missing)}: pip install '{PACKAGE}[{extra}]'"
    found.facts["extras"] = facts


def _devices(found: Examination) -> None:
    available, load = cores(), os.getloadavg()[0]
    facts: dict[str, Any] = {"cores": available, "load": round(load, 1)}
    if memory := _memory():
        facts["memory GB"], facts["free memory GB"] = (round(each / 1e9, 1) for each in memory)
    card = shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia/version").exists()
    if (torch := _torch(found)) is not None:
        facts["torch threads"] = threads = torch.get_num_threads()
        cards = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
        facts["cuda"] = cards if torch.cuda.is_available() else "none"
        if card and torch.version.cuda is None:
            found.warnings.append("a GPU is there, but this torch is for CPU only: install a CUDA build of torch")
        elif card and not cards:
            found.warnings.append("a GPU is there, but torch sees none: look at CUDA_VISIBLE_DEVICES and the driver")
        if threads > available:
            found.warnings.append(f"{threads} threads on {available} cores: set OMP_NUM_THREADS={available}")
        elif threads > 1 and load > available:
            found.warnings.append(
                f"others compute here (load {load:.1f} on {available} cores), so threads wait for each other: "
                "set OMP_NUM_THREADS=1"
            )
    found.facts["devices"] = facts


def _speed(found: Examination) -> None:
    """GFLOP/s of a float32 product, by one thread and by all."""
    if (torch := _torch(found)) is None:
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
        found.warnings.append(
            f"{before} threads are no faster than one ({together} and {alone} GFLOP/s): set OMP_NUM_THREADS=1"
        )
    found.facts["product GFLOP/s"] = facts


def _disk(found: Examination) -> None:
    facts: dict[str, Any] = {}
    for name, place in (("here", Path.cwd()), ("temporary", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(place).free
        facts[name] = f"{free / 1e9:.1f} GB free in {place}"
        if not os.access(place, os.W_OK):
            found.warnings.append(f"{place}: cannot be written to; give another folder with -o")
        if free < _LEAST_DISK:
            found.warnings.append(f"{place}: only {free / 1e9:.1f} GB are free; expert buffers may need more")
    found.facts["disk"] = facts


def _environment(found: Examination) -> None:
    found.facts["environment"] = {name: _masked(name, os.environ[name]) for name in VARIABLES if name in os.environ}


def _masked(name: str, value: str) -> str:
    if "TOKEN" in name:
        return "set"
    if "://" in value:
        with suppress(ValueError):
            parts = urlsplit(value)
            return f"{parts.scheme}://{parts.hostname or ''}"
        return "set"
    return value


def _torch(found: Examination) -> Any:
    """torch, or None where it cannot be loaded, which is told once."""
    try:
        import torch
    except Exception as error:  # a broken installation raises what it likes
        line = f"torch cannot be loaded ({' '.join(str(error).split())}): install it again"
        if line not in found.broken:
            found.broken.append(line)
        return None
    return torch


def _flops(torch: Any) -> float:
    """Operations a second: the best of the products that fit the time."""
    left, right = torch.full((_SIDE, _SIDE), 0.5), torch.full((_SIDE, _SIDE), 0.25)
    left @ right
    best, begun = float("inf"), time.perf_counter()
    while time.perf_counter() - begun < _LONGEST:
        started = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - started)
    return float(2 * _SIDE**3 / best)


def _memory() -> tuple[int, int] | None:
    """Bytes in all and bytes free; None where the system does not tell."""
    with suppress(OSError, KeyError, ValueError):
        rows = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        total, free = (1024 * int(rows[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
        return total, free
    return None


def _requirements(extra: str | None) -> Iterable[tuple[str, list[str], str]]:
    """(package, its extras, versions) of the core, or of an extra."""
    for text in metadata.requires(PACKAGE) or ():
        match = _REQUIREMENT.match(text)
        if match and match[4] == extra:
            inner = [each.strip() for each in (match[2] or "").split(",") if each.strip()]
            yield match[1], inner, match[3].strip().strip("()")


def _missing(extra: str) -> Iterable[str]:
    """What an extra lacks, those that it is made of included."""
    for name, inner, needed in _requirements(extra):
        if name == PACKAGE:
            for each in inner:
                yield from _missing(each)
        elif why := _unfit(name, needed):
            yield why


def _unfit(name: str, needed: str) -> str | None:
    """`NAME is missing` or too old; None if it will do."""
    version = _version(name)
    if version is None:
        return f"{name} is missing"
    least = re.search(r">=\s*([\d.]+)", needed)
    return f"{name} {version} is too old" if least and _numbers(version) < _numbers(least[1]) else None


def _version(name: str) -> str | None:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None


def _numbers(version: str) -> list[int]:
    return [int(each) for each in re.match(r"[\d.]*", version)[0].split(".") if each]  # type: ignore[index]
