"""A crash, and a refusal by the disk, at every step by which bytes reach the disk (sampled for long commands).

The steps are: creating a file, half of a write, syncing a file or folder, renaming, deleting, creating a folder.
"""

from __future__ import annotations

import errno
import os
import random
import resource
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import IO

from disk_steps import Steps, disk
from torture.commands import COMMANDS, Command
from torture.forked import run
from torture.options import Options
from torture.trial import Trial
from torture.workplace import Workplace, workplace

MOST_CRASHES, MOST_REFUSALS = 30, 8
CRASHED = 77
_FULL, _READ_ONLY = errno.ENOSPC, errno.EROFS


class CrashingSteps(Steps):
    """Ends the process at a step, and records the number of steps in a file."""

    def __init__(self, crash_at: int | None, file: IO[bytes]) -> None:
        super().__init__()
        self._crash_at, self._file, self._pwrite = crash_at, file, os.pwrite

    def take(self, name: str) -> None:
        """Count a step, and end the process if it is the one."""
        self.log.append(name)
        self._pwrite(self._file.fileno(), str(len(self.log)).encode(), 0)
        if self._crash_at == len(self.log) - 1:
            os._exit(CRASHED)


class RefusingSteps(Steps):
    """From a step on, the disk refuses everything but renaming and deleting, as a full disk does."""

    def __init__(self, refuse_from: int, number: int) -> None:
        super().__init__()
        self._refuse_from, self._number = refuse_from, number

    def take(self, name: str) -> None:
        """Count a step, and raise an error if the disk refuses it."""
        self.log.append(name)
        freeing = name == "delete" or name.startswith("replace")
        if len(self.log) > self._refuse_from and (self._number == _READ_ONLY or not freeing):
            raise OSError(self._number, os.strerror(self._number))


def trials(options: Options) -> Iterator[Trial]:
    """Crash every command at every step, and refuse it space on the disk."""
    draw = random.Random(options.seed)
    with workplace() as work:
        for command in (each for each in COMMANDS if options.includes(each.name)):
            total = count_steps(work, command)
            for step in _sample(total, options.number(command.attempts(MOST_CRASHES)), draw):
                detail = crash(work, command, step)
                yield Trial(f"crash: {command.name}: step {step} of {total}", not detail, detail)
            for step in _sample(total, options.number(command.attempts(MOST_REFUSALS)), draw):
                detail = refuse(work, command, step, _FULL)
                yield Trial(f"full disk: {command.name}: step {step} of {total}", not detail, detail)
            for name, detail in {
                "read-only": refuse(work, command, 0, _READ_ONLY),
                "file size limit": limit_file_size(work, command, 2000),
            }.items():
                yield Trial(f"{name}: {command.name}", not detail, detail)


def count_steps(work: Workplace, command: Command) -> int:
    """Return the number of steps of a command that is not interrupted."""
    work.reference(command)
    work.renew()
    with tempfile.TemporaryFile() as file:
        run(command.words, work.place, lambda: _watch(CrashingSteps(None, file)))
        file.seek(0)
        return int(file.read() or b"0")


def crash(work: Workplace, command: Command, step: int) -> str:
    """End the process at a step, and repeat the command. Return what went wrong, or an empty string."""
    work.renew()
    with tempfile.TemporaryFile() as file:
        outcome = run(command.words, work.place, lambda: _watch(CrashingSteps(step, file)))
    if outcome.code not in (0, CRASHED):
        return outcome.problem(0, CRASHED)
    return work.finished(command)


def refuse(work: Workplace, command: Command, step: int, number: int) -> str:
    """Let the disk refuse all steps from one on, then repeat the command. Return what went wrong."""
    work.renew()
    outcome = run(command.words, work.place, lambda: _watch(RefusingSteps(step, number)))
    if problem := outcome.problem(0, 2):
        return problem
    if outcome.code == 2 and os.strerror(number) not in outcome.err:
        return f"does not name the reason: {outcome.line}"
    return work.finished(command)


def limit_file_size(work: Workplace, command: Command, size: int) -> str:
    """Let the kernel refuse files over a size, then repeat the command. Return what went wrong."""
    work.renew()
    outcome = run(
        command.words, work.place, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    )
    if problem := outcome.problem(0, 2):
        return problem
    return work.finished(command)


def _watch(steps: Steps) -> None:
    """Pass all steps of this process through `steps`, until it ends."""
    _watched.append(disk(steps))
    _watched[0].__enter__()


_watched: list[AbstractContextManager[None]] = []


def _sample(total: int, most: int, draw: random.Random) -> list[int]:
    return list(range(total)) if total <= most else sorted(draw.sample(range(total), most))
