"""The `push` command."""

from __future__ import annotations

import argparse
from pathlib import Path

from omnidistill.cli.options import add_json
from omnidistill.cli.output import command_line, print_result
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `push` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "push",
        run,
        "upload a synthetic set, with a dataset card, to Hugging Face",
        main_options=("--licence", "--dry-run"),
        examples=("omnidistill push RUN me/my-set --dry-run",),
    )
    parser.add_argument("source", type=Path, metavar="RUN|SET", help="folder of a finished run, or of a synthetic set")
    parser.add_argument(
        "name", metavar="OWNER/NAME", help="dataset on the Hugging Face Hub; created if it does not exist"
    )
    parser.add_argument(
        "--licence",
        metavar="SPDX",
        help="licence of the data, such as CC-BY-4.0; required if the set does not record a licence",
    )
    parser.add_argument(
        "--private", action="store_true", help="create the dataset as private; fail if it already exists and is public"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the list of files and the dataset card; upload nothing"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Upload a distilled set to the Hub, and print its files, licence and commit. With `--dry-run`, upload nothing."""
    from omnidistill.experiments.sharing import push

    pushed = push(
        options.source, options.name, licence=options.licence, private=options.private, dry_run=options.dry_run
    )
    total = sum(pushed.files.values())
    lines = [f"{size:>12,} {path}" for path, size in pushed.files.items()]
    lines.append(f"licence {pushed.licence.name}{' (non-commercial)' if pushed.licence.non_commercial else ''}")
    pinned = f"{options.name}@{pushed.commit}" if pushed.commit else options.name
    following = command_line("pull", pinned, "-o", "SET")
    if pushed.commit is None:
        lines.append(f"dry run: would upload {total:,} bytes with this card:\n\n{pushed.card}")
    else:
        lines += [f"commit  {pushed.commit}", f"page    {pushed.url}", f"next    {following}"]
    content = {
        "dry_run": pushed.commit is None,
        "files": pushed.files,
        "bytes": total,
        "licence": pushed.licence.name,
        "non_commercial": pushed.licence.non_commercial,
        "commit": pushed.commit,
        "url": pushed.url,
        "card": pushed.card,
        "next": following,
    }
    print_result(options, content, lines)
