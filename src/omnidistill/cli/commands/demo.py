"""The `demo` command."""

from __future__ import annotations

import argparse
from pathlib import Path

from omnidistill.cli.options import add_device, add_json
from omnidistill.cli.output import command_line, print_result, print_table, progress
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `demo` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "demo",
        run,
        "distil the bundled image-text-audio dataset; takes a few minutes",
        examples=("omnidistill demo", "omnidistill demo -o first-look", "omnidistill demo --quick -o check"),
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("demo-run"),
        metavar="DIR",
        help="output folder (default: demo-run)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="check the installation in seconds: run the complete demo on a third of the data, with 20 synthetic rows "
        "and a few training steps; the scores mean nothing",
    )
    add_device(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Distil the demo data with two methods, and print the score table and the path of the report page."""
    from omnidistill.experiments.demo import PRESETS, QUICK_SIZE, SIZE, run_demo
    from omnidistill.report.run_table import to_rich

    size = QUICK_SIZE if options.quick else SIZE
    demo = run_demo(options.output, size=size, quick=options.quick, device=options.device, progress=progress())
    following = command_line("inspect", options.output / PRESETS[-1])
    if not options.json:
        print_table(to_rich(demo.scores))
    content = {"scores": demo.scores.to_json(), "table": demo.table, "page": demo.page}
    notes = ["note   the scores of a quick demo mean nothing; it shows that the installation works"]
    lines = [f"table  {demo.table}", f"page   {demo.page}", *(notes if options.quick else []), f"next   {following}"]
    print_result(options, {**content, "next": following}, lines)
