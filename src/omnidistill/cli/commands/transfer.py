"""The `transfer` command."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from omnidistill.cli.options import add_device, add_force, add_json, names, set_of
from omnidistill.cli.output import print_saved_tables, progress, typed_command
from omnidistill.cli.parser import CommandGroup

_NOTES = (
    "SET2 contains the same items as the data of the run, with the same ids, splits and groups, but features of "
    "another encoder.\n"
    "Options: mixture uses mixtures of items as rows (learned from the data of the run, or fitted to its set); nearest "
    "uses the nearest item of each row; map applies a ridge regression from the old to the new encoder.\n"
    "If you pass several runs that differ only in their seed, the intervals also cover the variation between sets."
)


def add(group: CommandGroup) -> None:
    """Add the `transfer` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "transfer",
        run,
        "use a synthetic set with another encoder, and compare ways to do so",
        description="Train projection heads for a new encoder on a synthetic set that was distilled with another "
        "encoder. There are three ways to do so: each synthetic row is replaced by a mixture of training items, is "
        "replaced by the nearest training item, or goes through a linear map between the encoders. A table compares "
        "these ways with random rows, with a set distilled on the new encoder, and with training on all rows.",
        main_options=("--to", "--options", "--missing", "--rendered"),
        examples=(
            "omnidistill transfer RUN --to SET2 -o DIR",
            "omnidistill transfer RUN --to SET2 --to SET3 --options mixture,map -o DIR",
        ),
        notes=_NOTES,
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "--to",
        action="append",
        required=True,
        metavar="SET2",
        help="dataset (its folder, or the name of a registered dataset) with the features that the new encoder "
        "computed for the same items; can be repeated",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="output folder")
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="built-in settings: paper-table-4 for those of the HoPA paper (default: our own settings)",
    )
    parser.add_argument(
        "--options",
        type=names,
        metavar="A,B",
        help="comma-separated ways to move the set to the new encoder: mixture (rows become mixtures of items), "
        "nearest (rows become the nearest items) or map (ridge regression between the encoders); default: all",
    )
    parser.add_argument(
        "--rendered",
        type=Path,
        metavar="DIR",
        help="features that the new encoder computed for the output of 'omnidistill render' (all rows of the synthetic "
        "set must be rendered): a folder written by 'omnidistill encode', or a folder with one file MODALITY.npy per "
        "modality. The output table then has one more row, 'rendered', for heads trained on these features",
    )
    parser.add_argument(
        "--recipe",
        choices=("own", "anchor", "sgd"),
        metavar="NAME",
        help="how heads are trained: anchor (ridge regression), sgd, or own (the recipe of the run's set, the default)",
    )
    parser.add_argument(
        "--missing",
        choices=("error", "drop"),
        default="error",
        metavar="WHAT",
        help="what to do if SET2 lacks training items of the run: error (the default), or drop to continue without "
        "them",
    )
    parser.add_argument(
        "--seeds", type=int, metavar="R", help="number of runs of each baseline, at least 2 (default: 3)"
    )
    parser.add_argument("--data", metavar="SET", help="new location of the dataset, if it was moved after the run")
    add_force(parser, "an existing table")
    add_device(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Compare ways to use a set with another encoder, and print the table of their recall."""
    from omnidistill.api import TransferSettings, transfer
    from omnidistill.experiments.transfer.transfer_settings import load_transfer

    settings = TransferSettings() if options.preset is None else load_transfer(options.preset)
    if options.recipe is not None:
        settings = settings.evolve(recipe=options.recipe)
    if options.options is not None:
        settings = settings.evolve(options=tuple(options.options))
    if options.seeds is not None:
        settings = settings.evolve(evaluate=settings.evaluate.evolve(num_seeds=options.seeds))
    given: Any = [set_of(name) for name in options.to]
    result = transfer(
        options.runs,
        given,
        data=None if options.data is None else set_of(options.data),
        settings=settings,
        rendered=options.rendered,
        missing=options.missing,
        folder=options.output,
        force=options.force,
        device=options.device,
        progress=progress(),
        command=typed_command(),
    )
    return print_saved_tables(options, result)
