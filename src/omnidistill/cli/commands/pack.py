"""The `pack` command."""

from __future__ import annotations

import argparse
from pathlib import Path

from omnidistill.cli.options import add_json, add_preprocessing, names
from omnidistill.cli.output import folder_size, print_result
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `pack` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "pack",
        run,
        "create a SET from feature files and a table of ids and splits",
        main_options=("--features", "--table"),
        examples=(
            "omnidistill pack --features feats.npz --table rows.csv -o SET",
            "omnidistill pack --features features/ --table rows.jsonl --group video_id -o SET",
            "omnidistill pack --features feats.npz --table rows.csv --merge-duplicates --drop-leaks image,audio -o SET",
        ),
    )
    parser.add_argument(
        "--features",
        type=Path,
        required=True,
        metavar="FILE|DIR",
        help=".npz, .safetensors or .parquet file with one array per modality, or a folder with one .npy, .npz or "
        ".safetensors file per modality",
    )
    parser.add_argument(
        "--table",
        type=Path,
        metavar="FILE",
        help=".jsonl, .csv or .parquet file whose rows are in the same order as the features",
    )
    for column in ("id", "group", "split"):
        parser.add_argument(
            f"--{column}",
            default=column,
            metavar="COLUMN",
            help=f"column that contains the {column} (default: {column})",
        )
    parser.add_argument(
        "--merge-duplicates",
        nargs="?",
        type=names,
        const=True,
        default=False,
        metavar="MODALITIES",
        help="make one group of the groups of a split that share rows identical in a modality, such as captions of one "
        "image (default: in any modality; or a list: image,audio)",
    )
    parser.add_argument(
        "--drop-leaks",
        nargs="?",
        type=names,
        const=True,
        default=False,
        metavar="MODALITIES",
        help="drop rows of other splits that are identical to test rows in a modality, then rows of heads and train "
        "that are identical to validation rows (default: in any modality; or a list: image,audio)",
    )
    add_preprocessing(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="SET", help="folder to write")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Create a set from feature files, and print a summary of the set."""
    from omnidistill.api import pack

    packed = pack(
        options.features,
        options.table,
        options.output,
        id_column=options.id,
        group_column=options.group,
        split_column=options.split,
        standardise=not options.no_standardise,
        centre=not options.no_centre,
        merge_duplicates=options.merge_duplicates,
        drop_leaks=options.drop_leaks,
    )
    num_bytes, following = folder_size(options.output), f"omnidistill distill {options.output} --size 100 -o RUN"
    content = {**packed.to_json(), "output": str(options.output), "bytes": num_bytes, "next": following}
    where = f"set    {options.output} ({num_bytes:,} bytes)"
    print_result(options, content, [packed.table(), where, f"next   {following}"])
