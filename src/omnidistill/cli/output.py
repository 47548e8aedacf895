"""Output of the commands. Results go to stdout, and progress goes to stderr.

Names, ids and texts come from files, so every function prints them without terminal escapes (`core.printable`).
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnidistill.cli.end_screen import end_screen, screen_width
from omnidistill.core.printable import printable

if TYPE_CHECKING:
    from omnidistill.experiments.dry_run import CostEstimate
    from omnidistill.experiments.saved_tables import SavedTables


def print_text(text: str, *, to_stderr: bool = False) -> None:
    """Print text and a line break to stdout or stderr."""
    print(printable(text), file=sys.stderr if to_stderr else sys.stdout, flush=True)


@contextmanager
def printable_warnings() -> Iterator[None]:
    """Escape control characters in warnings that are shown during the block, as their text may come from a file."""
    usual = warnings.formatwarning

    def without_escapes(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        return printable(usual(message, category, filename, lineno, line))

    warnings.formatwarning = without_escapes
    try:
        yield
    finally:
        warnings.formatwarning = usual


def print_result(options: argparse.Namespace, content: Mapping[str, Any], lines: Sequence[str]) -> None:
    """Print the result of a command: with `--json` as one JSON object (`content`), otherwise as text (`lines`)."""
    print_text(json.dumps(content, allow_nan=False, default=str) if options.json else "\n".join(lines))


def print_end(options: argparse.Namespace, content: Mapping[str, Any], lines: Sequence[str], table: str = "") -> None:
    """Print the result of a long command: one JSON object with `--json`, otherwise a table and lines of text.

    Args:
        options: options of the command.
        content: the result as JSON values.
        lines: lines of text about the result, the files and the next command; see `cli.end_screen`.
        table: a table, which is printed before the lines; if it is empty, only the lines are printed.
    """
    print_result(options, content, [*([table, ""] if table else []), *end_screen(lines, screen_width())])


def print_estimate(options: argparse.Namespace, estimate: Callable[[], CostEstimate]) -> None:
    """Print the estimated cost of a command, including the CPU time for starting the program."""
    seconds = time.process_time()
    cost = estimate().after_start(seconds)
    print_result(options, cost.content(), cost.lines())


def print_saved_tables(options: argparse.Namespace, tables: SavedTables[Any], *lines: str) -> int:
    """Print tables and the paths of their files or, with `--json`, the content of the tables.

    Return 1 if a result in the tables could not be computed, otherwise 0.

    Args:
        options: options of the command.
        tables: the tables.
        lines: lines of text between the tables and the paths.
    """
    files = [f"page {tables.file('.html')}", f"files {tables.file('.md')}, {tables.file('.json')}"]
    failed = [f"skipped {name}: failed; repeat the command with --resume" for name in tables.failures]
    print_end(options, tables.to_json(), [*lines, *failed, *files, "next open the page in a browser"], tables.table())
    for name, error in tables.failures.items():
        print_text(f"omnidistill: {name}: {error}", to_stderr=True)
    return 1 if tables.failures else 0


def print_note(options: argparse.Namespace, line: str) -> None:
    """Print a line of text before the result. With `--json`, print it to stderr."""
    print_text(line, to_stderr=options.json)


def print_table(table: Any, width: int = 0) -> None:
    """Print a table that is as wide as the terminal, but at least `width` characters. Respect NO_COLOR."""
    from rich.console import Console
    from rich.segment import Segments

    plain: dict[str, Any] = {"color_system": None} if os.environ.get("NO_COLOR") else {}
    console = Console(width=max(Console().width, width), **plain)
    console.print(Segments([each._replace(text=printable(each.text)) for each in console.render(table)]))


def progress() -> Any:
    """Return an object that shows progress on stderr."""
    from omnidistill.io.tracking import RichProgress

    return RichProgress()


def typed_command() -> str:
    """Return the command line, which is recorded in runs."""
    return printable(command_line(*sys.argv[1:]))  # a file name that is not UTF-8 cannot be stored


def command_line(*words: object) -> str:
    """Return a command that a user can paste into a shell: words with spaces or special characters are quoted."""
    return shlex.join(["omnidistill", *map(str, words)])


def distill_command(dataset: Path | str, num_train: int, *options: object) -> str:
    """Return a `distill` command that the user can run next.

    The size of the synthetic set is a quarter of the training rows, rounded down, but at least 1 and at most 100 rows.

    Args:
        dataset: name or folder of the dataset.
        num_train: number of training rows.
        options: more words for the command, for example "--heads", "HEADS".
    """
    return command_line("distill", dataset, *options, "--size", max(1, min(100, num_train // 4)), "-o", "RUN")


def folder_size(folder: Path) -> int:
    """Return the total size in bytes of all files in a folder and its subfolders."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
