"""Run commands in forks of this process, which has already imported all libraries: a command starts in milliseconds.

child = start(words, folder)      the command runs in `folder`
child.send(signal.SIGTERM)
outcome = child.wait()            exit code (negative: number of the signal that killed it), stdout, stderr

Signals are blocked until the command handles them, because a process of its own would not be hit earlier than that:
the start of the interpreter is not part of the command.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from omnidistill.cli.main import main
from omnidistill.core.interrupts import signals_end_program

SECONDS = 300.0
"""Time after which a command is considered to hang."""
DEFAULTS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
"""{signal: its default handler}."""
HUNG = 99
"""Exit code of a command that was killed because it hung."""


@dataclass(frozen=True)
class Outcome:
    """What a command did: its exit code and its output."""

    code: int
    out: str
    err: str

    def problem(self, *codes: int, most_lines: int = 1) -> str:
        """Return what is wrong, or an empty string if the exit code is one of `codes` and an error is one line."""
        lines = [line for line in self.err.splitlines() if line.startswith("omnidistill: ")]
        if "Traceback" in self.err or self.code not in codes:
            return f"exit code {self.code}: {' '.join(self.err.split())[-300:]}"
        if self.code > 0 and not 1 <= len(lines) <= most_lines:
            return f"{len(lines)} error lines: {' '.join(self.err.split())[-300:]}"
        return ""

    @property
    def line(self) -> str:
        """The last line of stderr."""
        return (self.err.strip().splitlines() or [""])[-1]


class Child:
    """A command that runs in another process."""

    def __init__(self, pid: int, out: IO[bytes], err: IO[bytes]) -> None:
        self.pid, self._out, self._err = pid, out, err
        self._handle = os.pidfd_open(pid)

    def running(self, seconds: float) -> bool:
        """Wait for this many seconds or until the process ends; return whether it still runs."""
        return not select.select([self._handle], [], [], seconds)[0]

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def wait(self) -> Outcome:
        """Wait for the process to end."""
        hung = self.running(SECONDS)
        if hung:
            self.send(signal.SIGKILL)
        status = os.waitpid(self.pid, 0)[1]
        os.close(self._handle)
        texts = []
        for file in (self._out, self._err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
            file.close()
        code = HUNG if hung else os.waitstatus_to_exitcode(status)
        return Outcome(code, texts[0], texts[1] + ("\nit hung" if hung else ""))


def start(words: Sequence[object], folder: Path, prepare: Callable[[], None] = lambda: None) -> Child:
    """Start a command in a fork.

    Args:
        words: the words after the program's name.
        folder: working directory of the command.
        prepare: called in the fork before the command.
    """
    out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
    sys.stdout.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, DEFAULTS)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return Child(pid, out, err)
    code = 98
    try:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        sys.stdout, sys.stderr = (os.fdopen(handle, "w", buffering=1, closefd=False) for handle in (1, 2))
        os.chdir(folder)
        prepare()
        sys.argv = ["omnidistill", *map(str, words)]
        for number, handler in DEFAULTS.items():  # a shell that runs this in the background ignores SIGINT
            signal.signal(number, handler)
        signals_end_program()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            code = main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def run(words: Sequence[object], folder: Path, prepare: Callable[[], None] = lambda: None) -> Outcome:
    """Run a command in a fork, and wait for it."""
    return start(words, folder, prepare).wait()


def seconds_of(words: Sequence[object], folder: Path) -> tuple[float, Outcome]:
    """Run a command in a fork; return its duration and outcome."""
    started_at = time.monotonic()
    outcome = run(words, folder)
    return time.monotonic() - started_at, outcome
