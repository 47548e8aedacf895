"""The `plot` command."""

from __future__ import annotations

import argparse
from pathlib import Path

from omnidistill.cli.options import add_force, add_json
from omnidistill.cli.output import print_result
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `plot` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "plot",
        run,
        "draw a figure for a paper as SVG, PDF or PNG",
        description="draw a figure for a paper from stored results, by default as wide as a column of a two-column "
        "paper. The command needs matplotlib: pip install 'omnidistill[plot]'",
        main_options=("--kind", "--width"),
        examples=(
            "omnidistill plot COMPARISON -o gain.pdf",
            "omnidistill plot RUN OTHER -o curves.svg",
            "omnidistill plot RUN --kind intervals --level R@1 -o intervals.pdf",
            "omnidistill plot COMPARISON --kind heat-map --width 6.9 -o recall.png",
            "omnidistill plot PAPER --table 5 -o table-5.pdf",
        ),
    )
    parser.add_argument(
        "sources",
        type=Path,
        nargs="+",
        metavar="SOURCE",
        help="output folder of 'distill', 'compare', 'transfer', 'migrate' or 'paper', or the .json file of a "
        "table in such a folder; if there are several SOURCEs, all must be runs of 'distill'",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FIGURE",
        help="output: a .svg, .pdf or .png file",
    )
    parser.add_argument(
        "--kind",
        metavar="NAME",
        help="what to draw: gain (gain retained for every size in bytes), curves (training curves), intervals (gain of "
        "each table row with its 95%% interval), heat-map (recall of every table row by retrieval direction, or the "
        "cells of a table of 'compare --preset crossed'), similarity (learned similarity of the rows of a set) or "
        "reproduction (recall in every table row of 'paper' next to the published recall). Default: the first kind in "
        "this list that fits SOURCE",
    )
    parser.add_argument(
        "--width",
        type=float,
        default=3.3,
        metavar="INCHES",
        help="width of the figure (default: 3.3, one column; 6.9 fills both columns of most papers)",
    )
    parser.add_argument(
        "--level",
        metavar="R@K",
        help="recall level to draw, such as R@5. By default, heat maps and figures of 'transfer' and 'paper' show the "
        "first level in the results, usually R@1. Other figures show the second level, usually R@5, or the first if "
        "there is only one",
    )
    parser.add_argument(
        "--measure",
        default="gain_retained",
        metavar="NAME",
        help="value to show in a heat map of 'compare --preset crossed': gain_retained (default), recall or "
        "improvement (over random rows)",
    )
    parser.add_argument(
        "--table",
        metavar="NUMBER",
        help="table of the HoPA paper to draw from the results of 'omnidistill paper': its number, such as 5, or "
        "figure-2 (default: all)",
    )
    add_force(parser, "an existing output file")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Draw the figure, and print its path and size."""
    from omnidistill.api import plot

    figure = plot(
        options.sources,
        options.output,
        kind=options.kind,
        width=options.width,
        level=options.level,
        measure=options.measure,
        table=options.table,
        force=options.force,
    )
    width, height = figure.get_size_inches().tolist()
    num_bytes = options.output.stat().st_size
    content = {"output": options.output, "width": width, "height": round(height, 3), "bytes": num_bytes}
    size = f"{width:.1f} x {height:.1f} inches, {num_bytes:,} bytes"
    print_result(options, content, [f"figure {options.output} ({size})"])
