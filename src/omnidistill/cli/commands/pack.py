"""The `pack` command."""

from __future__ import annotations

import argparse
from pathlib import Path

from omnidistill.cli.options import (
    add_columns,
    add_force,
    add_json,
    add_preprocessing,
    add_separator,
    names,
    set_of,
    source_of,
)
from omnidistill.cli.output import distill_command, folder_size, print_note, print_result
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `pack` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "pack",
        run,
        "create a dataset (SET) from features of any encoders",
        main_options=("--features", "--table"),
        less_memory="store the features as .npy or .safetensors files, which are read in chunks",
        examples=(
            "omnidistill pack laion-embeddings/ -o SET",
            "omnidistill pack hub:OWNER/NAME --modalities image=image_embedding,text=text_embedding -o SET",
            "omnidistill pack --features feats.npz --table rows.csv -o SET",
            "omnidistill pack --features features/ --table rows.jsonl --group video_id -o SET",
            "omnidistill pack --features feats.npz --table rows.csv --merge-duplicates --drop-leaks image,audio -o SET",
            "omnidistill pack --features new.npz --table new.csv --like SET -o NEW",
        ),
    )
    parser.add_argument(
        "source",
        nargs="?",
        type=source_of,
        metavar="SOURCE",
        help="features written by another tool: an output folder of clip-retrieval (img_emb, text_emb, metadata); a "
        "dataset of the Hugging Face library 'datasets' (folder written by save_to_disk, Parquet files, or "
        "hub:OWNER/NAME); or .tar shards with .npy members. A file or folder as described for --features is also "
        "accepted",
    )
    parser.add_argument(
        "--features",
        type=source_of,
        metavar="FILE|DIR",
        help="feature file (.npz, .safetensors or .parquet) with one array per modality, or a folder with one feature "
        "file (.npy, .npz or .safetensors) per modality; pass it instead of SOURCE",
    )
    parser.add_argument(
        "--table",
        type=Path,
        metavar="FILE",
        help="table (.jsonl, .csv, .tsv or .parquet) with the id, group and split of every feature row, in the same "
        "order; omit it if SOURCE contains these columns",
    )
    parser.add_argument(
        "--modalities",
        type=names,
        default=None,
        metavar="A,B",
        help="comma-separated arrays or columns to use as modalities (default: all that contain features). "
        "MODALITY=NAME uses the array or column NAME for a modality, for example "
        "image=image_embedding,text=text_embedding",
    )
    add_columns(parser, "row", "table column")
    parser.add_argument(
        "--merge-duplicates",
        nargs="?",
        type=names,
        const=True,
        default=False,
        metavar="MODALITIES",
        help="merge groups of the same split if they have the same features in at least one modality, for example the "
        "same image. MODALITIES, such as image,audio, limits the comparison to these modalities",
    )
    parser.add_argument(
        "--drop-leaks",
        nargs="?",
        type=names,
        const=True,
        default=False,
        metavar="MODALITIES",
        help="drop rows that occur in several splits: first, rows of all other splits that are identical to a test "
        "row; then, rows of 'heads' and 'train' that are identical to a remaining validation row. Two rows count "
        "as identical if they have the same features in at least one modality. MODALITIES, such as image,audio, limits "
        "the comparison to these modalities",
    )
    add_separator(parser, "table")
    add_preprocessing(parser)
    parser.add_argument(
        "--like",
        type=set_of,
        metavar="SET|RUN",
        help="use the preprocessing of an existing dataset, run or synthetic set, which must have the same modalities "
        "and widths. The means stored there are subtracted, not the means of the new training rows. Synthetic sets of "
        "the old and the new data can then be merged",
    )
    parser.add_argument(
        "--name", metavar="NAME", help="name of the dataset in reports and cards (default: the name of SOURCE)"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="SET", help="output folder")
    add_force(parser, "an existing SET")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Create a dataset from feature files and a metadata table, and print a summary of the dataset."""
    from omnidistill.api import pack
    from omnidistill.experiments.prepared import open_prepared
    from omnidistill.experiments.run import runs_on

    runs = [str(run) for run in runs_on(options.output)] if options.force else []
    if runs:
        print_note(options, f"note   these runs refer to the set that is replaced: {', '.join(runs)}")
    if (options.source is None) == (options.features is None):
        options.parser.error(f"{'missing' if options.source is None else 'use only one of'}: SOURCE or --features")
    packed = pack(
        options.source if options.features is None else options.features,
        options.table,
        options.output,
        modalities=options.modalities,
        id_column=options.id,
        group_column=options.group,
        split_column=options.split,
        separator=options.separator,
        name=options.name,
        standardise=not options.no_standardise,
        centre=not options.no_centre,
        like=None if options.like is None else open_prepared(options.like),
        merge_duplicates=options.merge_duplicates,
        drop_leaks=options.drop_leaks,
        force=options.force,
    )
    num_bytes = folder_size(options.output)
    following = distill_command(options.output, packed.rows.get("train", 0))
    content = {**packed.to_json(), "output": str(options.output), "bytes": num_bytes, "next": following}
    where = f"set    {options.output} ({num_bytes:,} bytes)"
    print_result(options, content, [packed.table(), where, f"next   {following}"])
