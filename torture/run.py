"""Run all trials, and print one table.

    make torture
    make torture ARGS="--only kill crash --share 0.1"
    make torture ARGS="--markdown table.md"

Every module `*_trials.py` in this folder has a function `trials(options)` that yields a `Trial` per attempt. Trials
of the same kind, the name up to the first colon, share a row of the table. Exit code 0 if all trials passed, otherwise
1.

`options` has the attribute `seed`, and the methods `number(full)`, how many of `full` attempts to make, and
`includes(command)`.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: results depend on the number of threads

import argparse
import importlib
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from torture.options import Options
from torture.trial import Trial

LONGEST = ("fuzz", "crash", "kill", "damage")
"""Modules that take longest, in this order."""


@dataclass
class Row:
    """A row of the table: the number of trials, those that failed, and the seconds that all of them took."""

    tried: int = 0
    failed: list[Trial] = field(default_factory=list)
    seconds: float = 0.0

    def cells(self, name: str) -> tuple[str, str, str, str]:
        """Return the cells of the table: name, tried, passed, seconds."""
        return name, f"{self.tried:,}", f"{self.tried - len(self.failed):,}", f"{self.seconds:,.0f}"


def modules() -> list[str]:
    """Return the names of all modules with trials, those that take longest first."""
    names = sorted(path.stem.removesuffix("_trials") for path in Path(__file__).parent.glob("*_trials.py"))
    return sorted(names, key=lambda name: (LONGEST.index(name) if name in LONGEST else len(LONGEST), name))


def collect(trials: Iterable[Trial], rows: dict[str, Row]) -> Iterator[Trial]:
    """Count trials in the rows of the table, and yield those that failed."""
    ended_at = time.monotonic()
    for trial in trials:
        row = rows.setdefault(trial.name.partition(":")[0], Row())
        row.tried += 1
        row.seconds += time.monotonic() - ended_at
        ended_at = time.monotonic()
        if not trial.passed:
            row.failed.append(trial)
            yield trial


def with_total(rows: dict[str, Row]) -> list[tuple[str, str, str, str]]:
    """Return the cells of all rows, below their titles and above their sum."""
    failed = [trial for row in rows.values() for trial in row.failed]
    total = Row(sum(row.tried for row in rows.values()), failed, sum(row.seconds for row in rows.values()))
    return [
        ("trials", "tried", "passed", "seconds"),
        *(row.cells(name) for name, row in rows.items()),
        total.cells("all"),
    ]


def as_text(rows: dict[str, Row]) -> str:
    """Return the table as plain text."""
    cells = with_total(rows)
    width = max(len(name) for name, *_ in cells)
    return "\n".join(f"{name:{width}}  {tried:>7}  {passed:>7}  {seconds:>7}" for name, tried, passed, seconds in cells)


def as_markdown(rows: dict[str, Row]) -> str:
    """Return the table in Markdown."""
    head, *cells = (f"| {' | '.join(row)} |" for row in with_total(rows))
    return "\n".join([head, "|---|---:|---:|---:|", *cells]) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trials, print every failure and the table, and return the exit code."""
    parser = argparse.ArgumentParser(description="Try to break omnidistill.")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help=f"modules: {', '.join(modules())}")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the random trials (default: 0)")
    parser.add_argument("--share", type=float, default=1.0, metavar="X", help="share of the trials (default: 1)")
    parser.add_argument("--commands", nargs="+", default=[], metavar="NAME", help="commands to try (default: all)")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="modules to run at a time (default: 2)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table to this file, for the docs")
    options = parser.parse_args(arguments, Options())
    for number, action in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        signal.signal(number, action)  # a shell that starts the program in the background ignores them
    started_at = time.monotonic()
    rows = run_modules([name for name in modules() if not options.only or name in options.only], options)
    minutes = f"{(time.monotonic() - started_at) / 60:.0f} minutes, {options.processes} at a time"
    print(f"{as_text(rows)}\n{minutes}")
    if options.markdown is not None:
        options.markdown.write_text(f"{as_markdown(rows)}\n{minutes}\n", "utf-8")
    return int(not rows or any(row.failed for row in rows.values()))


def run_modules(names: list[str], options: Options) -> dict[str, Row]:
    """Run the trials of modules, some modules at the same time, and return the rows of the table."""
    if options.processes == 1:
        parts = [run_module(name, options) for name in names]
    else:
        with ProcessPoolExecutor(options.processes, mp_context=get_context("fork")) as pool:
            parts = list(pool.map(run_module, names, [options] * len(names)))
    return {kind: row for rows in parts for kind, row in rows.items()}


def run_module(name: str, options: Options) -> dict[str, Row]:
    """Run the trials of a module, print those that failed, and return its rows of the table."""
    rows, started_at = dict[str, Row](), time.monotonic()
    for trial in collect(_all_trials(name, options), rows):
        print(f"FAILED {trial.name}: {trial.detail}", flush=True)
    print(f"{name}: {time.monotonic() - started_at:,.0f} s", file=sys.stderr, flush=True)
    return rows


def _all_trials(name: str, options: Options) -> Iterator[Trial]:
    """Yield the trials of a module; an error that ends them is a failed trial."""
    try:
        yield from importlib.import_module(f"torture.{name}_trials").trials(options)
    except Exception as error:
        yield Trial(f"{name}: ended early", False, f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    sys.exit(main())
