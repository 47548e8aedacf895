"""Run all trials, and print one table.

    make torture
    make torture ARGS="--only kill crash --share 0.1"

Every module `*_trials.py` in this folder has a function `trials(options)` that yields a `Trial` per attempt. Trials
with the same name up to the first colon share a row of the table. Exit code 0 if all trials passed, otherwise 1.

`options` has the attribute `seed`, and the methods `number(full)`, how many of `full` attempts to make, and
`includes(command)`.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: results depend on the number of threads

import argparse
import importlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torture.options import Options
from torture.trial import Trial


@dataclass
class Row:
    """A row of the table: the number of trials, and those that failed."""

    tried: int = 0
    failed: list[Trial] = field(default_factory=list)


def modules() -> list[str]:
    """Return the names of all modules with trials."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*_trials.py"))


def collect(trials: Iterable[Trial], rows: dict[str, Row]) -> Iterator[Trial]:
    """Count trials in the rows of the table, and yield those that failed."""
    for trial in trials:
        row = rows.setdefault(trial.name.partition(":")[0], Row())
        row.tried += 1
        if not trial.passed:
            row.failed.append(trial)
            yield trial


def table(rows: dict[str, Row], seconds: float) -> str:
    """Return the table of all trials."""
    width = max((len(name) for name in rows), default=0)
    lines = [f"{'trials':{width}}   tried  passed"]
    lines += [f"{name:{width}}  {row.tried:6,}  {row.tried - len(row.failed):6,}" for name, row in rows.items()]
    tried, failed = (sum(map(count, rows.values())) for count in (lambda row: row.tried, lambda row: len(row.failed)))
    lines.append(f"{'all':{width}}  {tried:6,}  {tried - failed:6,}   {seconds / 60:.0f} minutes")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trials, print every failure and the table, and return the exit code."""
    parser = argparse.ArgumentParser(description="Try to break omnidistill.")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help=f"modules: {', '.join(modules())}")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the random trials (default: 0)")
    parser.add_argument("--share", type=float, default=1.0, metavar="X", help="share of the trials (default: 1)")
    parser.add_argument("--commands", nargs="+", default=[], metavar="NAME", help="commands to try (default: all)")
    options = parser.parse_args(arguments, Options())
    chosen = [name for name in modules() if not options.only or name.removesuffix("_trials") in options.only]
    rows, started_at = dict[str, Row](), time.monotonic()
    for name in chosen:
        begun = time.monotonic()
        for trial in collect(importlib.import_module(f"torture.{name}").trials(options), rows):
            print(f"FAILED {trial.name}: {trial.detail}", flush=True)
        print(f"{name}: {time.monotonic() - begun:,.0f} s", file=sys.stderr, flush=True)
    print(table(rows, time.monotonic() - started_at))
    return int(not rows or any(row.failed for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
