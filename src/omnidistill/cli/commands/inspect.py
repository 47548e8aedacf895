"""The `inspect` command."""

from __future__ import annotations

import argparse
from pathlib import Path

from omnidistill.cli.options import add_json
from omnidistill.cli.output import print_result
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `inspect` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "inspect",
        run,
        "show what a file or folder contains: shapes, sizes and licences",
        main_options=("--verify", "--json"),
        examples=("omnidistill inspect RUN", "omnidistill inspect SET --verify --json"),
    )
    parser.add_argument(
        "path",
        type=Path,
        metavar="PATH",
        help="file or folder written by omnidistill, such as a dataset, projection heads, a run or a comparison; or "
        "a table that you wrote for 'omnidistill pack' or 'encode'",
    )
    parser.add_argument("--verify", action="store_true", help="read all files completely and verify their checksums")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Print a description of the folder or file."""
    from omnidistill.experiments.inspection import inspect

    result = inspect(options.path, options.verify)
    print_result(options, result.content(), result.lines())
