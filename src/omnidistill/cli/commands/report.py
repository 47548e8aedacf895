"""The `report` command."""

from __future__ import annotations

import argparse
from pathlib import Path

from omnidistill.cli.options import add_force, add_json, set_of
from omnidistill.cli.output import command_line, print_result, print_text
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `report` command to a command group (a heading in the program's help)."""
    summary = "write an HTML report on one run, or on several runs side by side"
    parser = group.add_command(
        "report",
        run,
        summary,
        description=f"{summary}. The page shows scores, curves, synthetic instances and retrieval examples",
        main_options=("--media", "--follow"),
        examples=(
            "omnidistill report RUN",
            "omnidistill report RUN OTHER -o both.html",
            "omnidistill report RUN --follow",
        ),
    )
    parser.add_argument(
        "runs",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="folder of a finished run, or with --follow, of an unfinished one; to include scores, first run "
        "'omnidistill evaluate RUN'",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="output: an .html file (default: report.html in the first RUN)",
    )
    add_force(parser, "an existing output file (report.html in the folder of the first run is always replaced)")
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
    parser.add_argument(
        "--follow",
        action="store_true",
        help="follow one unfinished run of 'distill', 'compare' or 'paper': update the page until the run ends, and "
        "exit with code 1 if the run stops before it is complete. The page reloads itself in a browser",
    )
    parser.add_argument(
        "--interval",
        type=float,
        metavar="SECONDS",
        help="with --follow: time between two updates (default: 10)",
    )
    parser.add_argument("--data", metavar="SET", help="new location of the dataset, if it was moved after the run")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Write the report page, and print its path, its size, and the runs that have no scores.

    With `--follow`, update the page until the run ends. Return 1 if the run stops before it is complete, otherwise 0.
    """
    if options.follow:
        return _follow(options)
    from omnidistill.api import InputError, write_report

    if options.interval is not None:
        raise InputError(
            f"--interval {options.interval:g}: applies only with --follow; add --follow, or omit --interval"
        )

    output = options.output or options.runs[0] / "report.html"
    data = None if options.data is None else set_of(options.data)
    views = write_report(options.runs, output, media=options.media, root=options.root, data=data, force=options.force)
    unscored = [str(run) for run, view in zip(options.runs, views, strict=True) if not view.scored]
    unscored_notes = [f"{run} has no scores; to compute them: {command_line('evaluate', run)}" for run in unscored]
    num_bytes = output.stat().st_size
    lines = [f"note   {note}" for note in unscored_notes]
    lines += [f"page   {output} ({num_bytes / 1e6:.2f} MB)", "next   open the page in a browser"]
    print_result(options, {"output": output, "bytes": num_bytes, "runs": len(views), "unscored": unscored}, lines)
    return 0


def _follow(options: argparse.Namespace) -> int:
    """Update the page of a run or comparison until it ends. Return 1 if it stops before it is complete, otherwise 0."""
    from omnidistill.api import InputError
    from omnidistill.encoding.manifests.manifest import read_manifest
    from omnidistill.experiments.live import follow_report

    if len(options.runs) > 1:
        raise InputError(f"--follow: {len(options.runs)} runs are given, but only one can be followed; pass one RUN")
    (folder,) = options.runs
    output = options.output or folder / "report.html"
    print_text(f"page   {output} (open it in a browser; it is updated until the run ends)", to_stderr=True)
    followed = follow_report(
        folder,
        output,
        interval=10.0 if options.interval is None else options.interval,
        media=None if options.media is None else read_manifest(options.media, options.root, other_columns=True),
        data=None if options.data is None else set_of(options.data),
        force=options.force,
    )
    if not followed.finished:
        print_text(f"omnidistill: {folder}: {followed.status} Resume it with --resume", to_stderr=True)
        return 1
    content = {"output": output, "finished": True, "status": followed.status}
    print_result(options, content, [f"state  {followed.status}", f"page   {output}"])
    return 0
