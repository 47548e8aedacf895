"""Two processes run the same command on the same folder: at least one ends well, the other one is refused in a line."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from torture.commands import COMMANDS, Command
from torture.forked import start
from torture.options import Options
from torture.trial import Trial
from torture.workplace import Workplace, workplace

PER_COMMAND = 4


def trials(options: Options) -> Iterator[Trial]:
    """Let two processes write to the same output."""
    draw = random.Random(options.seed)
    with workplace() as work:
        for command in (each for each in COMMANDS if options.includes(each.name)):
            for number in range(options.number(command.attempts(PER_COMMAND))):
                detail = write_twice(work, command, draw.choice((0.0, 0.01, 0.1)))
                yield Trial(f"two writers: {command.name}: {number}", not detail, detail)


def write_twice(work: Workplace, command: Command, delay: float) -> str:
    """Start a command twice. Return what went wrong, or an empty string."""
    work.reference(command)
    work.renew()
    first = start(command.words, work.place)
    time.sleep(delay)
    second = start(command.words, work.place)
    outcomes = (first.wait(), second.wait())
    problems = [problem for outcome in outcomes if (problem := outcome.problem(0, 2))]
    if problems:
        return problems[0]
    if all(outcome.code for outcome in outcomes):
        return f"both were refused: {outcomes[0].line}; {outcomes[1].line}"
    return work.difference(command)
