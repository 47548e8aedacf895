"""The verb `pack`: what may be typed, and what is printed. No logic."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from omnidistill.cli.printing import add_json, folder_bytes, tell


def add_data_verbs(added: Any) -> None:
    """Add it to the subparsers of the command line."""
    verb: argparse.ArgumentParser = added.add_parser(
        "pack", help="make a SET from feature files and a table of their rows"
    )
    verb.set_defaults(verb=pack)
    verb.add_argument(
        "--features",
        type=Path,
        required=True,
        metavar="FILE|DIR",
        help=".npz, .safetensors or .parquet with one tensor per modality, or a folder of .npy/.safetensors files",
    )
    verb.add_argument("--table", type=Path, metavar="FILE", help=".jsonl, .csv or .parquet; row order = tensor order")
    for column in ("id", "group", "split"):
        verb.add_argument(
            f"--{column}", default=column, metavar="COLUMN", help=f"column of the {column} (default: {column})"
        )
    verb.add_argument(
        "--no-standardise", action="store_true", help="take rows as they are instead of standardising each"
    )
    verb.add_argument("--no-centre", action="store_true", help="do not subtract the mean of the training rows")
    verb.add_argument("-o", "--output", type=Path, required=True, metavar="SET", help="the folder to write")
    add_json(verb)


def pack(options: argparse.Namespace) -> None:
    """Make a set from feature files; print what was found."""
    from dataclasses import asdict

    from omnidistill.data.pack import pack

    report = pack(
        options.features,
        options.table,
        options.output,
        id_column=options.id,
        group_column=options.group,
        split_column=options.split,
        standardise=not options.no_standardise,
        centre=not options.no_centre,
    )
    num_bytes, following = folder_bytes(options.output), f"omnidistill distill {options.output} --size 100 -o RUN"
    content = {**asdict(report), "output": str(options.output), "bytes": num_bytes, "next": following}
    where = f"set    {options.output} ({num_bytes:,} bytes)"
    tell(options, content, [*report.lines(), where, f"next   {following}"])
