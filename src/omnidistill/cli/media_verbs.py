"""The verbs `manifest` and `recipe`: what may be typed, and what is printed. No logic."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnidistill.cli.printing import add_json, print_table, progress, tell
from omnidistill.cli.settings import add_verb

if TYPE_CHECKING:
    from omnidistill.encoding.manifests.manifest import Manifest

_KINDS = "video,audio,image,text"


def add_media_verbs(added: Any) -> None:
    """Add both verbs to the subparsers of the command line."""
    making = add_verb(
        added, "manifest", manifest, "make the table of what to encode from a folder, or check one", light=True
    )
    making.add_argument("source", type=Path, metavar="FOLDER|FILE", help="media files, or a manifest made before")
    making.add_argument(
        "--modalities",
        type=_names,
        default=(),
        metavar="A,B",
        help=f"of {_KINDS} (default: all that the folder holds)",
    )
    making.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of dealing out splits where no folders name them"
    )
    _add_output(making, required=False)

    known = add_verb(added, "recipe", recipe, "make the manifest of a benchmark from its distributed files", light=True)
    known.add_argument("name", metavar="NAME", help="msrvtt-1ka, didemo or vggsound-s")
    known.add_argument("folder", type=Path, metavar="FOLDER", help="annotation files and videos, anywhere in it")
    known.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn at random (vggsound-s)")
    _add_output(known, required=True)


def manifest(options: argparse.Namespace) -> None:
    """Make or read a manifest, look at every file, print what was found, and save what can be used."""
    from omnidistill.core.errors import InputError
    from omnidistill.encoding.manifests.build import make_manifest
    from omnidistill.encoding.manifests.check import check_manifest
    from omnidistill.encoding.manifests.manifest import read_manifest, write_manifest

    if options.source.is_dir():
        found, notes = make_manifest(options.source, options.modalities, options.seed)
    elif options.modalities:
        raise InputError(f"{options.source}: --modalities is for folders; a manifest has its columns")
    else:
        found, notes = read_manifest(options.source), ()
    checked = check_manifest(found, options.missing, progress())
    if not options.json:
        print_table(_table(checked.table()))
    lines = [*checked.lines(), *(f"note   {note}" for note in notes)]
    content = {
        "total": checked.total,
        "usable": len(checked.manifest),
        "splits": _splits(checked.manifest),
        "problems": [asdict(problem) for problem in checked.problems],
        "duplicates": [asdict(pair) for pair in checked.duplicates],
        "notes": list(notes),
    }
    if options.output is not None:
        write_manifest(checked.manifest, options.output)
        content |= {
            "output": options.output,
            "next": f"omnidistill encode {options.output} --encoder NAME --encoder NAME -o SET",
        }
        lines += [f"saved  {options.output}", f"next   {content['next']}"]
    tell(options, content, lines)


def recipe(options: argparse.Namespace) -> None:
    """Make the manifest of a benchmark; print what was found."""
    from omnidistill.encoding.manifests.benchmarks import make_recipe
    from omnidistill.encoding.manifests.manifest import write_manifest

    made = make_recipe(options.name, options.folder, options.missing, options.seed)
    splits, following = _splits(made.manifest), f"omnidistill manifest {options.output} -o {options.output}"
    lines = [", ".join(f"{split} {count:,}" for split, count in splits.items())]
    if made.missing:
        lines.append(f"missing: {len(made.missing):,} videos, such as {', '.join(made.missing[:3])}")
    write_manifest(made.manifest, options.output)
    lines += [*(f"note   {note}" for note in made.notes), f"saved  {options.output}", f"next   {following}"]
    content = {"output": options.output, "splits": splits, "missing": list(made.missing), "notes": list(made.notes)}
    tell(options, {**content, "next": following}, lines)


def _splits(manifest: Manifest) -> dict[str, int]:
    return dict(Counter(row.split for row in manifest.rows))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _add_output(parser: argparse.ArgumentParser, required: bool) -> None:
    parser.add_argument(
        "--missing",
        choices=("drop", "fail"),
        default="drop",
        help="items that lack a modality or a usable file: leave them out (default), or fail",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=required,
        metavar="FILE",
        help=".csv, .jsonl or .parquet, in the folder of the files or above it",
    )
    add_json(parser)


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
