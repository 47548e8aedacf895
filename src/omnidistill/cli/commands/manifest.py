"""The `manifest` command."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omnidistill.cli.options import add_columns, add_json, add_manifest_output, names, source_of
from omnidistill.cli.output import command_line, print_result, print_table, progress
from omnidistill.cli.parser import CommandGroup

_ENCODERS: dict[str, str] = {
    "video": "frames-efficientnet-lite2",
    "audio": "whisper-base",
    "image": "efficientnet-lite2",
    "text": "minilm-l6",
}
"""{kind of media: an encoder that the extra 'small' installs}."""


def add(group: CommandGroup) -> None:
    """Add the `manifest` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "manifest",
        run,
        "create or check a manifest, the table of items for 'encode'",
        main_options=("--modalities",),
        examples=(
            "omnidistill manifest media/ -o media/items.csv",
            "omnidistill manifest media/items.csv --missing fail",
            "omnidistill manifest shards/ -o items.csv",
            "omnidistill manifest hub:OWNER/NAME --modalities image,text=caption -o items.csv",
        ),
        needs_torch=False,
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="folder of media files; .tar shards of webdataset or img2dataset; a dataset of the Hugging Face library "
        "'datasets' (folder written by save_to_disk, folder of Parquet files, or hub:OWNER/NAME); or an existing "
        "manifest to check",
    )
    parser.add_argument(
        "--modalities",
        type=names,
        default=(),
        metavar="A,B",
        help="modalities to include, for example image,text (default: all media in SOURCE, but only one text column or "
        ".json field, such as the captions). MODALITY=NAME reads a modality from NAME. In a dataset, NAME is a column, "
        "for example image=photo,text=caption. In .tar shards, NAME is the middle part of the names of media files "
        "(image=left reads 0.left.jpg, 1.left.jpg and so on), or a .json field with texts",
    )
    add_columns(parser, "item", "if SOURCE is a dataset or .tar shards: column or .json field")
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed for random splits (default: 0). A folder of media files without folders named after splits is "
        "split at random: 80%% train, 10%% validation, 10%% test. In datasets, .tar shards and existing manifests, a "
        "missing validation or test split is filled with 10%% of the training groups, drawn at random. Without "
        "--output, an existing manifest is only checked, and nothing is drawn",
    )
    add_manifest_output(
        parser,
        required=False,
        more=". If SOURCE is a dataset or .tar shards, any folder is possible. The media are then extracted to a new "
        "folder next to FILE, such as items-media for items.csv",
    )
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Create or read a manifest (list of media items), check its files, print the result, and save the usable items."""
    from omnidistill.encoding.manifests.create import create_manifest

    checked = create_manifest(
        source_of(options.source),
        options.output,
        modalities=options.modalities,
        id_column=options.id,
        group_column=options.group,
        split_column=options.split,
        seed=options.seed,
        missing=options.missing,
        force=options.force,
        progress=progress(),
    )
    if not options.json:
        print_table(_table(checked.table()))
    lines = checked.lines()
    content = {
        "total": checked.total,
        "usable": len(checked.manifest),
        "splits": dict(Counter(row.split for row in checked.manifest.rows)),
        "problems": [asdict(problem) for problem in checked.problems],
        "duplicates": [asdict(pair) for pair in checked.duplicates],
        "notes": list(checked.notes),
    }
    if options.output is not None:
        content |= {
            "output": options.output,
            "next": _encode_command(options.output, checked.manifest.kinds),
        }
        lines += [f"saved  {options.output}", f"next   {content['next']}"]
    print_result(options, content, lines)


def _encode_command(manifest: Path, kinds: Mapping[str, str]) -> str:
    """Return the `encode` command that is suggested as the next step after the manifest was saved.

    For each modality, the command names an encoder that `pip install omnidistill[small]` installs. An example is
    `omnidistill encode items.csv --encoder efficientnet-lite2 --encoder minilm-l6 -o SET`.

    Args:
        manifest: path of the manifest.
        kinds: {modality: kind of its media, such as "image"}.
    """
    encoders = [f"{'' if name == kind else f'{name}='}{_ENCODERS[kind]}" for name, kind in kinds.items()]
    return command_line("encode", manifest, *(word for each in encoders for word in ("--encoder", each)), "-o", "SET")


def _table(rows: list[tuple[str, ...]]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for index, name in enumerate(rows[0]):
        table.add_column(name, justify="left" if index in (0, len(rows[0]) - 1) else "right")
    for row in rows[1:]:
        table.add_row(*map(Text, row))
    return table
