"""The verbs `export`, `push` and `pull`: what may be typed, and what is printed. No logic."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_sharing_verbs(added: Any) -> None:
    """Add the three verbs to the subparsers of the command line."""
    out = _verb(added, "export", export, "write the rows of a set for other tools")
    out.add_argument("source", type=Path, metavar="RUN|SET", help="a run that is finished, or the folder of its set")
    out.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help=".parquet, .npz, or a folder for the library 'datasets'",
    )

    up = _verb(added, "push", push, "share a set on the Hugging Face hub, with a card and its licence")
    up.add_argument("source", type=Path, metavar="RUN|SET", help="a run that is finished, or the folder of its set")
    up.add_argument("name", metavar="OWNER/NAME", help="the data set on the hub; made if it is not there")
    up.add_argument("--licence", metavar="SPDX", help="of data whose licence is not recorded: CC-BY-4.0 ...")
    up.add_argument("--private", action="store_true", help="for its owner only")
    up.add_argument("--dry-run", action="store_true", help="say what would be uploaded, and the card")

    down = _verb(added, "pull", pull, "fetch a set from the Hugging Face hub and verify it")
    down.add_argument("reference", metavar="OWNER/NAME[@REVISION]", help="a commit pins it; default: the newest")
    down.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")


def export(options: argparse.Namespace) -> None:
    """Write a set's rows; print where."""
    from omnidistill.run import load_begun
    from omnidistill.sharing import export

    distilled = load_begun(options.source)
    path = export(distilled, options.output)
    print(f"export {path} ({len(distilled)} rows of {', '.join(distilled.modalities)})")


def push(options: argparse.Namespace) -> None:
    """Upload a set; print the files, the licence and the commit, or with --dry-run the card."""
    from omnidistill.sharing import push

    pushed = push(
        options.source, options.name, licence=options.licence, private=options.private, dry_run=options.dry_run
    )
    for path, size in pushed.files.items():
        print(f"{size:>12,} {path}")
    print(f"licence {pushed.licence.name}{' (non-commercial)' if pushed.licence.non_commercial else ''}")
    if pushed.commit is None:
        print(f"would be uploaded: {sum(pushed.files.values()):,} bytes, with this card:\n\n{pushed.card}")
    else:
        print(f"commit  {pushed.commit}\npage    {pushed.url}")


def pull(options: argparse.Namespace) -> None:
    """Fetch a set; print the commit that pins it."""
    from omnidistill.sharing import pull

    pulled = pull(options.reference, options.output)
    name = options.reference.partition("@")[0]
    print(f"set     {pulled.folder} ({len(pulled.distilled)} rows, {pulled.distilled.bytes:,} bytes, verified)")
    print(f"pinned  {name}@{pulled.commit}")


def _verb(added: Any, name: str, action: Any, text: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = added.add_parser(name, help=text, description=text, allow_abbrev=False)
    made.set_defaults(verb=action)
    return made
