"""The `pull` command."""

from __future__ import annotations

import argparse
from pathlib import Path

from omnidistill.cli.options import add_force, add_json
from omnidistill.cli.output import command_line, print_result
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `pull` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "pull",
        run,
        "download a synthetic set from the Hugging Face Hub and verify it",
        examples=("omnidistill pull me/my-set -o SET",),
    )
    parser.add_argument(
        "reference",
        metavar="OWNER/NAME[@REVISION]",
        help="dataset on the Hugging Face Hub; REVISION is a commit hash (default: the latest commit)",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="output folder")
    add_force(parser, "a synthetic set that is already in DIR")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Download a distilled set from the Hugging Face Hub, and print its path and the commit hash of its version."""
    from omnidistill.experiments.sharing import pull

    pulled = pull(options.reference, options.output, force=options.force)
    name = options.reference.partition("@")[0]
    content = {
        "output": pulled.folder,
        "rows": len(pulled.distilled),
        "bytes": pulled.distilled.bytes,
        "pinned": f"{name}@{pulled.commit}",
        "next": command_line("inspect", pulled.folder),
    }
    lines = [
        f"set     {pulled.folder} ({len(pulled.distilled)} rows, {pulled.distilled.bytes:,} bytes, verified)",
        f"pinned  {content['pinned']}",
        f"next    {content['next']}",
    ]
    print_result(options, content, lines)
