"""The `merge` command."""

from __future__ import annotations

import argparse
from pathlib import Path

from omnidistill.cli.options import add_force, add_json
from omnidistill.cli.output import command_line, print_end
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `merge` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "merge",
        run,
        "merge synthetic sets into one, without the data they were distilled from",
        main_options=("--size", "--bytes"),
        examples=("omnidistill merge RUN-A RUN-B -o MERGED", "omnidistill merge RUN-A RUN-B --size 100 -o MERGED"),
    )
    parser.add_argument(
        "sets",
        type=Path,
        nargs="+",
        metavar="RUN|SET",
        help="folder of a finished run or of a synthetic set. Give two or more, all made with the same encoders, "
        "preprocessing and training recipe",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MERGED", help="folder of the merged set")
    parser.add_argument(
        "--size", type=int, metavar="N", help="number of rows of the merged set (default: the sum over all sets)"
    )
    parser.add_argument(
        "--bytes", metavar="B", help="size limit of the merged set in bytes, such as 64kB; replaces --size"
    )
    add_force(parser, "an existing set in the output folder")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Merge sets, and print the size of the result."""
    from omnidistill.api import merge

    output = options.output
    merged = merge(*options.sets, size=options.size, bytes=options.bytes, folder=output, force=options.force)
    following = command_line("export", output, "-o", "rows.parquet")
    content = {
        "output": str(output),
        "rows": merged.size,
        "bytes": merged.bytes,
        "recipe": merged.recipe.title,
        "notes": merged.provenance.notes,
        "next": following,
    }
    lines = [
        f"set {output} ({merged.size} rows of {merged.spec.storage.title}, {merged.bytes:,} bytes)",
        f"recipe {merged.recipe.title}",
        *(f"chosen {name} = {reason}" for name, reason in merged.provenance.choices.items()),
        *(f"note {note}" for note in merged.provenance.notes),
        f"next {following}",
    ]
    print_end(options, content, lines)
