"""The `recipe` command."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from omnidistill.cli.options import add_json, add_manifest_output
from omnidistill.cli.output import command_line, print_result
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `recipe` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "recipe",
        run,
        "create the manifest of a benchmark, a table of its items",
        examples=("omnidistill recipe msrvtt-1ka MSRVTT/ -o MSRVTT/items.csv",),
        needs_torch=False,
    )
    parser.add_argument("name", metavar="NAME", help="name of the benchmark: msrvtt-1ka, didemo or vggsound-s")
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="folder that contains the annotation files and the videos, possibly in subfolders",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed for the random choice of the videos in vggsound-s (default: 0); the other benchmarks ignore it",
    )
    add_manifest_output(parser, required=True)
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Create the manifest (list of media items) of a benchmark, and print its splits and the missing videos."""
    from omnidistill.encoding.manifests.benchmarks import build_recipe
    from omnidistill.encoding.manifests.write_manifest import write_manifest
    from omnidistill.io.artifacts import require_new

    require_new(options.output, options.force)
    result = build_recipe(options.name, options.folder, options.missing, options.seed)
    splits = dict(Counter(row.split for row in result.manifest.rows))
    following = command_line("manifest", options.output, "-o", options.output, "--force")
    lines = [", ".join(f"{split} {count:,}" for split, count in splits.items())]
    if result.missing:
        lines.append(f"missing videos: {len(result.missing):,}, for example {', '.join(result.missing[:3])}")
    write_manifest(result.manifest, options.output, force=options.force)
    lines += [*(f"note   {note}" for note in result.notes), f"saved  {options.output}", f"next   {following}"]
    content = {"output": options.output, "splits": splits, "missing": list(result.missing), "notes": list(result.notes)}
    print_result(options, {**content, "next": following}, lines)
