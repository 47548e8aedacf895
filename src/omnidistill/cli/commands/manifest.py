"""The `manifest` command."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omnidistill.cli.options import add_json, add_manifest_output, names
from omnidistill.cli.output import command_line, print_result, print_table, progress
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `manifest` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "manifest",
        run,
        "create or check a manifest, the table of items for 'encode'",
        main_options=("--modalities",),
        examples=(
            "omnidistill manifest media/ -o media/items.csv",
            "omnidistill manifest media/items.csv --missing fail",
        ),
        needs_torch=False,
    )
    parser.add_argument(
        "source", type=Path, metavar="FOLDER|FILE", help="folder of media files, or an existing manifest to check"
    )
    parser.add_argument(
        "--modalities",
        type=names,
        default=(),
        metavar="A,B",
        help="modalities to include, for example image,text (default: all of video, audio, image and text that the "
        "folder contains)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed for random train, validation and test splits (default: 0); used only if no subfolder is named after "
        "a split",
    )
    add_manifest_output(parser, required=False)
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Create or read a manifest (list of media items), check its files, print the result, and save the usable items."""
    from omnidistill.core.errors import InputError
    from omnidistill.encoding.manifests.build import build_manifest
    from omnidistill.encoding.manifests.check import check_manifest
    from omnidistill.encoding.manifests.manifest import read_manifest, write_manifest
    from omnidistill.io.artifacts import require_new

    if options.output is not None:
        require_new(options.output, options.force)
    if options.source.is_dir():
        manifest, notes = build_manifest(options.source, options.modalities, options.seed)
    elif options.modalities:
        raise InputError(
            f"{options.source}: --modalities applies only to a folder of media files; "
            "the columns of a manifest define its modalities, so omit --modalities"
        )
    else:
        manifest, notes = read_manifest(options.source), ()
    checked = check_manifest(manifest, options.missing, progress())
    if not options.json:
        print_table(_table(checked.table()))
    lines = [*checked.lines(), *(f"note   {note}" for note in notes)]
    content = {
        "total": checked.total,
        "usable": len(checked.manifest),
        "splits": dict(Counter(row.split for row in checked.manifest.rows)),
        "problems": [asdict(problem) for problem in checked.problems],
        "duplicates": [asdict(pair) for pair in checked.duplicates],
        "notes": list(notes),
    }
    if options.output is not None:
        write_manifest(checked.manifest, options.output, force=options.force)
        content |= {
            "output": options.output,
            "next": command_line("encode", options.output, "--encoder", "NAME", "--encoder", "NAME", "-o", "SET"),
        }
        lines += [f"saved  {options.output}", f"next   {content['next']}"]
    print_result(options, content, lines)


def _table(rows: list[tuple[str, ...]]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for index, name in enumerate(rows[0]):
        table.add_column(name, justify="left" if index in (0, len(rows[0]) - 1) else "right")
    for row in rows[1:]:
        table.add_row(*map(Text, row))
    return table
