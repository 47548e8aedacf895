"""The verbs `manifest` and `recipe`: what may be typed, and what is printed. No logic."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

_KINDS = "video,audio,image,text"


def add_media_verbs(added: Any) -> None:
    """Add both verbs to the subparsers of the command line."""
    making = _verb(added, "manifest", manifest, "make the table of what to encode from a folder, or check one")
    making.add_argument("source", type=Path, metavar="FOLDER|FILE", help="media files, or a manifest made before")
    making.add_argument(
        "--modalities",
        type=_names,
        default=(),
        metavar="A,B",
        help=f"of {_KINDS} (default: all that the folder holds)",
    )
    making.add_argument("--seed", type=int, default=0, help="of dealing out splits where no folders name them")
    _add_output(making, required=False)

    known = _verb(added, "recipe", recipe, "make the manifest of a benchmark from its distributed files")
    known.add_argument("name", metavar="NAME", help="msrvtt-1ka, didemo or vggsound-s")
    known.add_argument("folder", type=Path, metavar="FOLDER", help="annotation files and videos, anywhere in it")
    known.add_argument("--seed", type=int, default=0, help="of what is drawn at random (vggsound-s)")
    _add_output(known, required=True)


def manifest(options: argparse.Namespace) -> None:
    """Make or read a manifest, look at every file, print what was found, and save what can be used."""
    from omnidistill.errors import InputError
    from omnidistill.manifest.checking import check_manifest
    from omnidistill.manifest.making import make_manifest
    from omnidistill.manifest.table import read_manifest

    if options.source.is_dir():
        found, notes = make_manifest(options.source, options.modalities, options.seed)
    elif options.modalities:
        raise InputError(f"{options.source}: --modalities is for folders; a manifest has its columns")
    else:
        found, notes = read_manifest(options.source), ()
    checked = check_manifest(found, options.missing, _progress())
    _print_table(checked.table())
    print("\n".join([*checked.lines(), *(f"note: {note}" for note in notes)]))
    if options.output is not None:
        _save(checked.manifest, options.output)
        print(f"next   omnidistill encode {options.output} --encoder NAME --encoder NAME -o SET")


def recipe(options: argparse.Namespace) -> None:
    """Make the manifest of a benchmark; print what was found."""
    from omnidistill.manifest.recipes import make_recipe

    made = make_recipe(options.name, options.folder, options.missing, options.seed)
    splits = [row.split for row in made.manifest.rows]
    print(", ".join(f"{split} {splits.count(split):,}" for split in dict.fromkeys(splits)))
    if made.missing:
        print(f"missing: {len(made.missing):,} videos, such as {', '.join(made.missing[:3])}")
    print("\n".join(f"note: {note}" for note in made.notes))
    _save(made.manifest, options.output)
    print(f"next   omnidistill manifest {options.output} -o {options.output}")


def _verb(added: Any, name: str, action: Any, text: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = added.add_parser(name, help=text, description=text, allow_abbrev=False)
    made.set_defaults(verb=action)
    return made


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


def _save(found: Any, path: Path) -> None:
    from omnidistill.manifest.table import write_manifest

    write_manifest(found, path)
    print(f"saved  {path}")


def _progress() -> Any:
    from omnidistill.tracking import RichProgress

    return RichProgress()


def _print_table(rows: list[tuple[str, ...]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for index, name in enumerate(rows[0]):
        table.add_column(name, justify="left" if index in (0, len(rows[0]) - 1) else "right")
    for row in rows[1:]:
        table.add_row(*map(Text, row))
    Console().print(table)
