"""Little memory: a command ends well or says that memory ran out; it blames neither files nor packages."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from torture.commands import COMMANDS, Command
from torture.forked import Outcome, run
from torture.options import Options
from torture.trial import Trial
from torture.workplace import Workplace, workplace

MEGABYTES = (0, 1, 2, 4, 8, 16, 32, 64)
"""Memory that a command may take in addition to the imported libraries."""
TOTAL_MEGABYTES = (200, 400, 600, 800, 1000, 1400, 2000, 3000)
"""Memory of a new process, which must import the libraries too."""


def trials(options: Options) -> Iterator[Trial]:
    """Limit the memory of every command."""
    with workplace() as work:
        for command in (each for each in COMMANDS if options.includes(each.name)):
            for size in MEGABYTES[: options.number(command.attempts(len(MEGABYTES)))]:
                detail = limit(work, command, size)
                yield Trial(f"memory: {command.name}: {size} MB more", not detail, detail)
        for size in TOTAL_MEGABYTES[: options.number(len(TOTAL_MEGABYTES))]:
            detail = limit_process(work, size)
            yield Trial(f"memory: new process: {size} MB", not detail, detail)


def limit(work: Workplace, command: Command, megabytes: int) -> str:
    """Run a command with little memory, then with enough. Return what went wrong, or an empty string."""
    work.reference(command)
    work.renew()
    outcome = run(command.words, work.place, lambda: _limit(_address_space() + megabytes * 2**20))
    return _problem(outcome) or work.finished(command)


def limit_process(work: Workplace, megabytes: int) -> str:
    """Run a command in a new process with little memory. Return what went wrong, or an empty string."""
    done = subprocess.run(
        [sys.executable, "-m", "omnidistill", "inspect", "SET"],
        cwd=work.renew(),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=lambda: _limit(megabytes * 2**20),
        capture_output=True,
        text=True,
        check=False,
    )
    return _problem(Outcome(done.returncode, done.stdout, done.stderr))


def _problem(outcome: Outcome) -> str:
    if problem := outcome.problem(0, 1):
        return problem
    return "" if outcome.code == 0 or "out of memory" in outcome.line else f"does not say why: {outcome.line}"


def _limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
