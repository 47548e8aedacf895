"""Signals at random times: every command is killed up to three times, repeated, and must write the same files."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator

from torture.commands import COMMANDS, Command
from torture.forked import start
from torture.options import Options
from torture.trial import Trial
from torture.workplace import Workplace, workplace

PER_COMMAND = 14
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def trials(options: Options) -> Iterator[Trial]:
    """Kill every command at random times."""
    draw = random.Random(options.seed)
    with workplace() as work:
        for command in (each for each in COMMANDS if options.includes(each.name)):
            started_at = time.monotonic()
            work.reference(command)
            seconds = time.monotonic() - started_at
            for number in range(options.number(command.attempts(PER_COMMAND))):
                detail = kill(work, command, draw, seconds, kills=1 + number % 3)
                yield Trial(f"kill: {command.name}: {number}", not detail, detail)


def kill(work: Workplace, command: Command, draw: random.Random, seconds: float, kills: int) -> str:
    """Kill a command some times, and let it end. Return what went wrong, or an empty string."""
    work.renew()
    words = [*command.words]
    for _ in range(kills):
        number, twice = draw.choice(SIGNALS), draw.random() < 0.3
        child = start(words, work.place)
        if child.running(draw.uniform(0, seconds)):
            child.send(number)
            if twice and child.running(draw.uniform(0, 0.02)):
                child.send(number)
        outcome = child.wait()
        interrupted = -9 if number == signal.SIGKILL else 128 + number
        if outcome.code == 2 and "--force" in outcome.err:
            break  # the output is complete
        if problem := outcome.problem(0, interrupted, most_lines=1 + twice):
            return f"{number.name}{' twice' if twice else ''}: {problem}"
        words = [*command.words, *command.resume]
    return work.finished(command)
