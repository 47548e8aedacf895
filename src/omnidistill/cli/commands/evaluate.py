"""The command `evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from omnidistill.cli.options import add_json
from omnidistill.cli.output import print_result, print_table, progress, typed_command
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the command to a group."""
    parser = group.add_command(
        "evaluate",
        run,
        "train on a set and compare its scores with all baselines",
        main_options=("--seeds", "--json"),
        examples=("omnidistill evaluate RUN", "omnidistill evaluate RUN --seeds 20 --json > scores.json"),
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder written by 'distill'")
    parser.add_argument(
        "--seeds", type=int, metavar="R", help="students trained per baseline (default: from the run, 10)"
    )
    parser.add_argument(
        "--heads",
        type=Path,
        metavar="FILE|DIR",
        help="initial heads of the students, instead of those that the set was distilled for",
    )
    parser.add_argument("--data", metavar="SET", help="current location of the data, if they were moved")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Score the set of a run and the baselines; print the table, or the scores as JSON."""
    from omnidistill.experiments.evaluate_run import evaluate_run
    from omnidistill.experiments.run import open_run
    from omnidistill.report.run_table import to_rich

    run = open_run(options.run)
    evaluated = evaluate_run(
        run,
        num_seeds=options.seeds,
        data_reference=options.data,
        heads=options.heads,
        command=typed_command(),
        progress=progress(),
    )
    if not options.json:
        print_table(to_rich(evaluated.scores))
    folder = evaluated.folder
    lines = [
        f"scores {folder / 'scores.json'}, {folder / 'scores.csv'}",
        f"page   {folder / 'report.html'}",
        f"next   omnidistill export {options.run} -o set.parquet; omnidistill cite {options.run}",
    ]
    print_result(options, evaluated.scores.to_json(), lines)
