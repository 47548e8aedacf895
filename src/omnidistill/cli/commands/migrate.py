"""The `migrate` command."""

from __future__ import annotations

import argparse
from pathlib import Path

from omnidistill.cli.options import add_device, add_force, add_json
from omnidistill.cli.output import command_line, print_end, progress, typed_command
from omnidistill.cli.parser import CommandGroup

_NOTES = (
    "OLD and NEW are .npy files with one row per item, in the same order, or SET:MODALITY for one modality of a packed "
    "set, such as emoji:image.\n"
    "80 % of the rows are for training, 10 % choose settings, and 10 % are scored once for the report. A packed set "
    "has its own splits.\n"
    "KIT contains all files that a receiver needs. The report is written next to it: KIT-report.md, .json and .html."
)


def add(group: CommandGroup) -> None:
    """Add the `migrate` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "migrate",
        run,
        "learn a map (kit) from embeddings of one encoder to another",
        description="Learn a kit: a small map from the embeddings of an old encoder to those of a new encoder, and "
        "back. It is learned from both encoders' embeddings of the same items, and compared with other methods",
        main_options=("--bytes", "--size", "--groups", "--baselines"),
        examples=(
            "omnidistill migrate old.npy new.npy -o KIT",
            "omnidistill migrate old.npy new.npy --bytes 200kB --groups items.txt -o KIT",
            "omnidistill migrate SET:image SET:text --size 50 --baselines quick -o KIT",
        ),
        notes=_NOTES,
    )
    parser.add_argument(
        "old",
        metavar="OLD",
        help="embeddings of the old encoder: a .npy file, or SET:MODALITY for one modality of a packed dataset",
    )
    parser.add_argument(
        "new",
        metavar="NEW",
        help="embeddings of the new encoder, in the format of OLD, for the same items in the same order",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="KIT", help="output folder for the learned map (kit)"
    )
    parser.add_argument(
        "--bytes",
        metavar="B",
        help="size limit for the files of the kit (the learned map): in bytes (200kB), or in percent of the size of "
        "the training pairs in float32 (default: 1%%)",
    )
    parser.add_argument(
        "--size",
        type=int,
        metavar="N",
        help="number of synthetic rows from which both maps are computed, old to new and new to old; replaces --bytes",
    )
    parser.add_argument(
        "--groups",
        type=Path,
        metavar="FILE",
        help="file with the group of every item: a text file with one group per line, or a .npy file. All items of a "
        "group are in the same split (default: every item is its own group)",
    )
    parser.add_argument(
        "--baselines",
        choices=("all", "quick", "none"),
        default="all",
        metavar="WHICH",
        help="other mapping methods to compute for comparison: all (the default), quick (only closed-form methods) or "
        "none",
    )
    parser.add_argument(
        "--bits",
        type=int,
        choices=(32, 16, 8, 6, 4, 3, 2),
        metavar="B",
        help="bits per number in the stored kit (the learned map): 32, 16, 8, 6, 4, 3 or 2 (default: entropy coding "
        "with 3 bits on average)",
    )
    parser.add_argument(
        "--iterations",
        type=int,
        metavar="N",
        help="number of training iterations; 0 uses the closed-form solution without training (default: 80)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed for the random splits and for training (default: 0)"
    )
    add_force(parser, "an existing kit (learned map) and its report")
    add_device(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Make a migration kit (maps between the embeddings of two encoders), and print its report."""
    from omnidistill.api import MigrationSettings, migrate
    from omnidistill.models.storages import RowStorage

    settings = MigrationSettings()
    if options.bits is not None:
        settings = settings.evolve(storage=RowStorage(bits=options.bits))
    if options.iterations is not None:
        settings = settings.evolve(iterations=options.iterations)
    result = migrate(
        _side(options.old),
        _side(options.new),
        size=options.size,
        bytes=options.bytes,
        groups=options.groups,
        settings=settings,
        baselines=options.baselines,
        seed=options.seed,
        folder=options.output,
        force=options.force,
        device=options.device,
        progress=progress(),
        command=typed_command(),
    )
    output, old = options.output, options.old if _is_file(options.old) else "old.npy"
    following = command_line("apply", output, old, "-o", "mapped.npy")
    lines = [
        f"kit {output} ({result.kit.bytes:,} bytes)",
        f"page {output}-report.html",
        f"files {output}, {output}-report.md, {output}-report.json",
        f"next {following}",
    ]
    content = {**result.to_json(), "output": str(output), "bytes": result.kit.bytes}
    print_end(options, {**content, "next": following}, lines, result.table())


def _side(text: str) -> str | Path:
    return Path(text) if _is_file(text) else text


def _is_file(text: str) -> bool:
    return text.endswith(".npy") or ":" not in text or Path(text).is_file()
