"""The `report` command."""

from __future__ import annotations

import argparse
from pathlib import Path

from omnidistill.cli.options import add_force, add_json, set_of
from omnidistill.cli.output import command_line, print_result
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `report` command to a command group (a heading in the program's help)."""
    summary = "write an HTML report on one run, or on several runs side by side"
    parser = group.add_command(
        "report",
        run,
        summary,
        description=f"{summary}. The page shows scores, curves, synthetic instances and retrieval examples",
        main_options=("--media",),
        examples=("omnidistill report RUN", "omnidistill report RUN OTHER -o both.html"),
    )
    parser.add_argument(
        "runs",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="folder of a finished run; to include scores in the report, first run 'omnidistill evaluate RUN'",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="output: an .html file (default: report.html in the first RUN)",
    )
    add_force(parser, "an existing output file; report.html in RUN is always replaced")
    parser.add_argument(
        "--media",
        type=Path,
        metavar="MANIFEST",
        help="manifest (table of items) from which the dataset was encoded; it adds captions, images and audio to the "
        "page",
    )
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="base folder for relative paths in the manifest (default: the manifest's folder)",
    )
    parser.add_argument("--data", metavar="SET", help="new location of the dataset, if it was moved after the run")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Write the report page, and print its path, its size, and the runs that have no scores."""
    from omnidistill.api import write_report

    output = options.output or options.runs[0] / "report.html"
    data = None if options.data is None else set_of(options.data)
    views = write_report(options.runs, output, media=options.media, root=options.root, data=data, force=options.force)
    unscored = [str(run) for run, view in zip(options.runs, views, strict=True) if not view.scored]
    unscored_notes = [f"{run} has no scores; to compute them: {command_line('evaluate', run)}" for run in unscored]
    num_bytes = output.stat().st_size
    lines = [f"note   {note}" for note in unscored_notes]
    lines += [f"page   {output} ({num_bytes / 1e6:.2f} MB)", "next   open the page in a browser"]
    print_result(options, {"output": output, "bytes": num_bytes, "runs": len(views), "unscored": unscored}, lines)
