"""Ray: workers and the driver are killed; the result is that of an undisturbed local run, and no process remains."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from torture.commands import COMMANDS, Command
from torture.forked import Outcome
from torture.options import Options
from torture.trial import Trial
from torture.workplace import Workplace, workplace

_MORE_WORDS = {"compare": ("--set", "evaluate.protocol=paper")}
"""`prepare_process` shortens the search of the other protocol in this process, but not in Ray's workers."""
RAY_COMMANDS = tuple(
    replace(each, words=(*each.words, *_MORE_WORDS.get(each.name, ())))
    for each in COMMANDS
    if each.name in ("encode", "experts", "compare")
)
PER_COMMAND = 2
STARTS = 3
SECONDS = 240.0
"""Time for a command with Ray, and for its processes to end."""


def trials(options: Options) -> Iterator[Trial]:
    """Kill workers and drivers of all commands that use Ray."""
    if find_spec("ray") is None:
        yield Trial("ray: installed", False, "Ray is not installed: pip install 'omnidistill[ray]'")
        return
    draw = random.Random(options.seed)
    with workplace() as work:
        for command in (each for each in RAY_COMMANDS if options.includes(each.name)):
            for number in range(options.number(PER_COMMAND)):
                for whom in ("worker", "driver"):
                    detail = kill(work, command, whom, draw)
                    yield Trial(f"ray: {command.name}: {whom} killed, {number}", not detail, detail)


def kill(work: Workplace, command: Command, whom: str, draw: random.Random) -> str:
    """Kill a worker or the driver as soon as workers run. Return what went wrong, or an empty string.

    On a busy machine, Ray may not start in the time that it gives itself. It is then started again.
    """
    for _ in range(STARTS):
        problem = _kill(work, command, whom, draw)
        if "could not connect to a Ray cluster" not in problem:
            break
    return problem


def _kill(work: Workplace, command: Command, whom: str, draw: random.Random) -> str:
    work.reference(command)
    place = work.renew()
    program = Path(__file__).with_name("ray_driver.py")
    number = signal.SIGKILL if whom == "worker" else draw.choice((signal.SIGKILL, signal.SIGTERM))
    with subprocess.Popen(
        [sys.executable, program, *map(str, command.words), "--engine", "ray"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as driver:
        while driver.poll() is None and not (workers := _workers(place, driver.pid)):
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.5))
        if driver.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(driver.pid if whom == "driver" else draw.choice(workers), number)
        try:
            out, err = driver.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            driver.kill()
            return "hung"
    codes = (0,) if whom == "worker" else (0, -9 if number == signal.SIGKILL else 128 + number)
    if problem := Outcome(driver.returncode, out, err).problem(*codes):
        return f"{number.name}: {problem}"
    deadline = time.monotonic() + SECONDS
    while processes := _processes(place, driver.pid):
        if time.monotonic() > deadline:
            return f"processes remain: {processes}"
        time.sleep(0.1)
    return work.finished(command)


def _workers(place: Path, driver: int) -> list[int]:
    """Return the processes of workers that run a task: they are named after it, and are in the driver's folder."""
    return [pid for pid, name in _processes(place, driver).items() if name.startswith("ray::omnidistill")]


def _processes(place: Path, driver: int) -> dict[int, str]:
    """Return {process: its command line} for the processes in a folder, except the driver."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "cwd").readlink() == place and int(entry.name) not in (driver, os.getpid()):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().decode(errors="replace")
    return found
