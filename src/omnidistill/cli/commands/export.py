"""The `export` command."""

from __future__ import annotations

import argparse
from pathlib import Path

from omnidistill.cli.options import add_force, add_json
from omnidistill.cli.output import command_line, print_result
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `export` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "export",
        run,
        "write a synthetic set to a file that other tools can read",
        examples=("omnidistill export RUN -o set.parquet",),
    )
    parser.add_argument("source", type=Path, metavar="RUN|SET", help="folder of a finished run, or of a synthetic set")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="output: a .parquet file, an .npz file, or a folder in the format of the Hugging Face 'datasets' library",
    )
    add_force(parser, "an existing output file, or the files of an earlier export in a folder")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Write the rows of a distilled set to a file for other tools, and print the path of the file."""
    from omnidistill.experiments.run import load_initial_set, runs_unchanged
    from omnidistill.experiments.sharing import export

    with runs_unchanged([options.source]):
        distilled = load_initial_set(options.source)
        path = export(distilled, options.output, force=options.force)
    following = command_line("inspect", path)
    content = {"output": path, "rows": len(distilled), "modalities": distilled.modalities, "next": following}
    where = f"export {path} ({len(distilled)} rows of {', '.join(distilled.modalities)})"
    print_result(options, content, [where, f"next   {following}"])
