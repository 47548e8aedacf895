"""Output of the commands. Results go to stdout, and progress goes to stderr."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnidistill.experiments.dry_run import CostEstimate
    from omnidistill.experiments.saved_tables import SavedTables


def print_result(options: argparse.Namespace, content: Mapping[str, Any], lines: Sequence[str]) -> None:
    """Print the result of a command: with `--json` as one JSON object (`content`), otherwise as text (`lines`)."""
    print(json.dumps(content, allow_nan=False, default=str) if options.json else "\n".join(lines))


def print_estimate(options: argparse.Namespace, estimate: Callable[[], CostEstimate]) -> None:
    """Print the estimated cost of a command, including the CPU time for starting the program."""
    seconds = time.process_time()
    cost = estimate().after_start(seconds)
    print_result(options, cost.content(), cost.lines())


def print_saved_tables(options: argparse.Namespace, tables: SavedTables[Any]) -> int:
    """Print tables and the paths of their files, or their content as JSON; return 1 if something failed, else 0."""
    if options.json:
        print(json.dumps(tables.to_json(), allow_nan=False))
    else:
        print(tables.table())
        print(f"\ntables {tables.file('.md')} (also .json)\npage   {tables.file('.html')}")
    for name, error in tables.failures.items():
        print(f"omnidistill: {name}: {error}", file=sys.stderr)
    return 1 if tables.failures else 0


def print_note(options: argparse.Namespace, line: str) -> None:
    """Print a line of text before the result. With `--json`, print it to stderr."""
    print(line, file=sys.stderr if options.json else sys.stdout, flush=True)


def print_table(table: Any, width: int = 0) -> None:
    """Print a table that is as wide as the terminal, but at least `width` characters. Respect NO_COLOR."""
    from rich.console import Console

    plain: dict[str, Any] = {"color_system": None} if os.environ.get("NO_COLOR") else {}
    Console(width=max(Console().width, width), **plain).print(table)


def progress() -> Any:
    """Return an object that shows progress on stderr."""
    from omnidistill.io.tracking import RichProgress

    return RichProgress()


def typed_command() -> str:
    """Return the command line, which is recorded in runs."""
    return " ".join(["omnidistill", *sys.argv[1:]])


def folder_size(folder: Path) -> int:
    """Return the total size in bytes of all files in a folder and its subfolders."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
