"""The `diagnose` command."""

from __future__ import annotations

import argparse
from pathlib import Path

from omnidistill.cli.options import add_force, add_json, set_of
from omnidistill.cli.output import print_result, progress, typed_command
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `diagnose` command to a command group (a heading in the program's help)."""
    summary = "check the theory of the HoPA paper by measurements on a run"
    parser = group.add_command(
        "diagnose",
        run,
        summary,
        description=f"{summary}. The command trains one student on the synthetic set of the run and another on real "
        "rows, in float64. Along their training steps, it measures both sides of every lemma and bound of "
        "the paper",
        main_options=("--real-rows", "--steps", "--force", "--json"),
        examples=("omnidistill diagnose RUN", "omnidistill diagnose RUN --real-rows nearest -o THEORY"),
    )
    parser.add_argument(
        "run",
        type=Path,
        metavar="RUN",
        help="folder of a finished run; its students must be trained by SGD (training recipe 'sgd')",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="output folder (default: RUN/theory)")
    parser.add_argument(
        "--real-rows",
        default="initial",
        metavar="NAME",
        help="training row to compare with each synthetic row: initial (the row from which the synthetic row was "
        "initialised, the default), nearest or random",
    )
    parser.add_argument(
        "--steps",
        type=int,
        metavar="T",
        help="number of training steps to measure (default: all steps of the students, at most 64)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed for the mini-batches and for '--real-rows random' (default: 0)",
    )
    parser.add_argument("--data", metavar="SET", help="new location of the dataset, if it was moved after the run")
    add_force(parser, "the files of an earlier diagnosis in the output folder")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Compare the lemmas and bounds of the HoPA paper with measurements on a run, and print a summary.

    With `--json`, print all measurements instead.
    """
    from omnidistill.api import diagnose

    diagnosis = diagnose(
        options.run,
        None if options.data is None else set_of(options.data),
        real_rows=options.real_rows,
        num_steps=options.steps,
        seed=options.seed,
        folder=options.output,
        force=options.force,
        progress=progress(),
        command=typed_command(),
    )
    folder = diagnosis.folder
    lines = [
        diagnosis.summary(),
        "",
        f"theory {folder}/theory.json, {folder}/theory.txt, {folder}/theory-*.svg",
        f"page   {folder}/theory.html",
        "next   open the page in a browser",
    ]
    print_result(options, diagnosis.to_json(), lines)
