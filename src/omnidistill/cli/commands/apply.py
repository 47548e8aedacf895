"""The `apply` command."""

from __future__ import annotations

import argparse
from pathlib import Path

from omnidistill.cli.options import add_force, add_json
from omnidistill.cli.output import print_result
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `apply` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "apply",
        run,
        "apply a map learned by 'migrate' to a file of embeddings",
        main_options=("--reverse", "--force"),
        examples=(
            "omnidistill apply KIT old.npy -o mapped.npy",
            "omnidistill apply KIT new.npy --reverse -o mapped-back.npy",
        ),
        notes="The file is read and written in chunks, so the memory does not depend on the number of vectors.",
    )
    parser.add_argument(
        "kit", type=Path, metavar="KIT", help="folder of the learned map (kit), written by 'omnidistill migrate'"
    )
    parser.add_argument("embeddings", type=Path, metavar="FILE", help=".npy file with one embedding per row")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="output file (.npy)")
    parser.add_argument(
        "--reverse",
        action="store_true",
        help="apply the map in the reverse direction: from embeddings of the new encoder to the space of the old one",
    )
    add_force(parser, "an existing output file")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Map a file of embeddings to the space of another encoder, and print the number of vectors and the time."""
    from omnidistill.api import Kit

    result = Kit.load(options.kit).apply_file(
        options.embeddings, options.output, reverse=options.reverse, force=options.force
    )
    rate = result.rows / max(result.seconds, 1e-9)
    content = {
        "output": str(result.path),
        "rows": result.rows,
        "width": result.width,
        "bytes": result.bytes,
        "seconds": result.seconds,
    }
    line = (
        f"output  {result.path} ({result.rows:,} vectors of width {result.width}, {result.bytes:,} bytes; "
        f"{result.seconds:.1f} s, {rate:,.0f} vectors per second)"
    )
    print_result(options, content, [line])
