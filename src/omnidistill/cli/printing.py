"""What verbs print, and how: results on stdout, progress on stderr, one JSON object where it is asked for."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json` to a verb that reports."""
    parser.add_argument("--json", action="store_true", help="print one JSON object, for other programs")


def tell(options: argparse.Namespace, content: Mapping[str, Any], lines: Sequence[str]) -> None:
    """The summary of a verb: the object where --json is given, otherwise the lines."""
    print(json.dumps(content, allow_nan=False, default=str) if options.json else "\n".join(lines))


def note(options: argparse.Namespace, line: str) -> None:
    """A line before the work is done; beside the object, not in it."""
    print(line, file=sys.stderr if options.json else sys.stdout, flush=True)


def progress() -> Any:
    """How far a verb is, on stderr."""
    from omnidistill.io.tracking import RichProgress

    return RichProgress()


def print_table(table: Any, width: int = 0) -> None:
    """A table on stdout, at least so wide; plain where that is no terminal or NO_COLOR is set."""
    from rich.console import Console

    plain: dict[str, Any] = {"color_system": None} if os.environ.get("NO_COLOR") else {}
    Console(width=max(Console().width, width), **plain).print(table)


def command() -> str:
    """What was typed, to be recorded."""
    return " ".join(["omnidistill", *sys.argv[1:]])


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
