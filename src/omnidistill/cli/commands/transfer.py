"""The `transfer` command."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from omnidistill.cli.options import add_device, add_json, names, set_of
from omnidistill.cli.output import print_saved_tables, progress, typed_command
from omnidistill.cli.parser import CommandGroup

_NOTES = (
    "SET2 has the items of the run with the same ids, splits and groups, and features of another encoder.\n"
    "mixture: rows as mixtures of items, learned, or fitted to the set. nearest: the nearest item of each row. map: "
    "ridge regression from the old to the new encoder.\n"
    "Several runs of one method that differ in their seed give intervals that also cover the variation between sets."
)


def add(group: CommandGroup) -> None:
    """Add the `transfer` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "transfer",
        run,
        "use a set with another encoder, and compare the options",
        description="train heads of another encoder on a set that was distilled with one encoder; compare mixtures of "
        "items, nearest items and a map between the encoders with random rows, direct distillation and all rows",
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
        help="features of the same items by another encoder: a dataset folder or name; can be repeated",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="output folder")
    parser.add_argument(
        "--preset", metavar="NAME", help="settings of a table of the paper: paper-table-4 (default: those of ours)"
    )
    parser.add_argument(
        "--options", type=names, metavar="A,B", help="options to compare, from mixture,nearest,map (default: all)"
    )
    parser.add_argument(
        "--rendered",
        type=Path,
        metavar="DIR",
        help="also compare media rendered from the rows: a folder with their features by the new encoder, one file "
        "MODALITY.npy per modality",
    )
    parser.add_argument(
        "--recipe",
        choices=("own", "anchor", "sgd"),
        metavar="NAME",
        help="how heads are trained on every set: anchor, sgd, or own (like the set of the run, the default)",
    )
    parser.add_argument(
        "--missing",
        choices=("error", "drop"),
        default="error",
        metavar="WHAT",
        help="training items that SET2 lacks: error (the default), or drop to continue without them",
    )
    parser.add_argument(
        "--seeds", type=int, metavar="R", help="runs per baseline, such as random rows (default: 3, at least 2)"
    )
    parser.add_argument("--data", metavar="SET", help="new location of the dataset, if it was moved after the run")
    parser.add_argument("--force", action="store_true", help="replace an existing table")
    add_device(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Compute the table, and print it."""
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
