"""Run a command or a function in a forked process, and measure its memory, output and time.

A fork starts with all libraries imported, so hundreds of files take a minute. The memory is the growth of the peak
resident memory from the start of the fork.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MOST_BYTES = 400 * 2**20
"""Growth of memory that a command may cost for a small file: `FREE_BYTES`, and what the command itself needs."""
_LIMIT_BYTES = 6 * 2**30  # address space; a command that needs more gets MemoryError instead of filling the machine


@dataclass(frozen=True)
class Outcome:
    """What a process did.

    Attributes:
        code: exit code; negative: the number of the signal that ended the process.
        out, err: its output.
        growth: growth of its peak memory, in bytes.
        seconds: its duration.
    """

    code: int
    out: str
    err: str
    growth: int
    seconds: float

    def problem(self) -> str:
        """Return what is wrong with the outcome of a command on a hostile file, or an empty string.

        A command may accept the file. Otherwise it must print one line that begins with its name and exit with code 1
        to 3.
        """
        if self.code not in (0, 1, 2, 3):
            return f"ended with {self.code}: {self.err[-200:]!r}"
        if "Traceback" in self.err:
            return f"traceback: {self.err.strip().splitlines()[-1]!r}"
        lines = self.err.splitlines()
        if self.code and not (lines and lines[-1].startswith("omnidistill: ")):
            return f"exit code {self.code} without a message: {self.err[-200:]!r}"
        if self.code and sum(line.startswith("omnidistill: ") for line in lines) != 1:
            return f"more than one line: {self.err[:200]!r}"
        if unsafe := [character for character in self.out + self.err if _is_control(character)]:
            return f"prints the control character {unsafe[0]!r}"
        if self.growth > MOST_BYTES:
            return f"takes {self.growth / 2**20:,.0f} MiB"
        return ""


def run_command(arguments: Sequence[object]) -> Outcome:
    """Run an omnidistill command in a fork of this process."""
    from omnidistill.cli.main import main

    return run_function(lambda: main([str(argument) for argument in arguments]))


def in_fork(act: Callable[[], object]) -> None:
    """Run a function in a fork, so that this process starts no threads: a fork of a process with threads may hang.

    Raises:
        RuntimeError: the function failed.
    """

    def run() -> int:
        act()
        return 0

    outcome = run_function(run, limit=600)
    if outcome.code:
        raise RuntimeError(outcome.err)


def run_function(act: Callable[[], int | None], limit: int = 60) -> Outcome:
    """Run a function in a fork of this process. Its result is the exit code; an exception prints a traceback.

    Args:
        act: the function.
        limit: seconds of CPU time after which the process is ended; a process that waits is ended after ten times as
            many seconds.
    """
    with tempfile.TemporaryDirectory() as place:
        out, err = Path(place, "out"), Path(place, "err")
        sys.stdout.flush()
        sys.stderr.flush()
        before, started_at = _resident(), time.monotonic()
        child = os.fork()
        if child == 0:
            _child(act, out, err, limit)
        _, status, usage = os.wait4(child, 0)
        seconds = time.monotonic() - started_at
        growth = max(0, 1024 * usage.ru_maxrss - before)
        return Outcome(os.waitstatus_to_exitcode(status), _text(out), _text(err), growth, seconds)


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace") if path.exists() else ""


def _child(act: Callable[[], int | None], out: Path, err: Path, limit: int) -> None:
    code = 70
    try:
        resource.setrlimit(resource.RLIMIT_AS, (_LIMIT_BYTES + _virtual(), resource.RLIM_INFINITY))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(10 * limit)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        for path, stream in ((out, 1), (err, 2)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
        try:
            code = act() or 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _virtual() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _is_control(character: str) -> bool:
    return character not in "\n\t\r" and (ord(character) < 32 or 127 <= ord(character) < 160)
