"""The `cite` command."""

from __future__ import annotations

import argparse

from omnidistill.cli.options import add_json
from omnidistill.cli.output import print_result
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `cite` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "cite",
        run,
        "print BibTeX entries for the methods and encoders of a run",
        examples=("omnidistill cite RUN > used.bib", "omnidistill cite hopa imagebind-video"),
        needs_torch=False,
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="RUN|METHOD",
        help="runs, comparisons, methods or encoders to cite (default: omnidistill itself)",
    )
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Print the BibTeX entries for the given runs, comparisons, methods or encoders."""
    from omnidistill.experiments.cite import cite

    entries = cite(options.names)
    print_result(options, entries, ["\n\n".join(entries.values())])
