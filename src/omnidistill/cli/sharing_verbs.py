"""The verbs `export`, `push` and `pull`: what may be typed, and what is printed. No logic."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from omnidistill.cli.printing import add_json, tell
from omnidistill.cli.settings import add_verb


def add_sharing_verbs(added: Any) -> None:
    """Add the three verbs to the subparsers of the command line."""
    out = add_verb(added, "export", export, "write the rows of a set for other tools")
    out.add_argument("source", type=Path, metavar="RUN|SET", help="a run that is finished, or the folder of its set")
    out.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help=".parquet, .npz, or a folder for the library 'datasets'",
    )
    add_json(out)

    up = add_verb(added, "push", push, "share a set on the Hugging Face hub, with card and licence")
    up.add_argument("source", type=Path, metavar="RUN|SET", help="a run that is finished, or the folder of its set")
    up.add_argument("name", metavar="OWNER/NAME", help="the data set on the hub; made if it is not there")
    up.add_argument("--licence", metavar="SPDX", help="of data whose licence is not recorded: CC-BY-4.0 ...")
    up.add_argument("--private", action="store_true", help="for its owner only")
    up.add_argument("--dry-run", action="store_true", help="say what would be uploaded, and the card")
    add_json(up)

    down = add_verb(added, "pull", pull, "fetch a set from the Hugging Face hub and verify it")
    down.add_argument("reference", metavar="OWNER/NAME[@REVISION]", help="a commit pins it; default: the newest")
    down.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="the folder to write")
    add_json(down)


def export(options: argparse.Namespace) -> None:
    """Write a set's rows; print where."""
    from omnidistill.experiments.run import load_begun
    from omnidistill.experiments.sharing import export

    distilled = load_begun(options.source)
    path = export(distilled, options.output)
    following = f"omnidistill inspect {path}"
    content = {"output": path, "rows": len(distilled), "modalities": distilled.modalities, "next": following}
    where = f"export {path} ({len(distilled)} rows of {', '.join(distilled.modalities)})"
    tell(options, content, [where, f"next   {following}"])


def push(options: argparse.Namespace) -> None:
    """Upload a set; print the files, the licence and the commit, or with --dry-run the card."""
    from omnidistill.experiments.sharing import push

    pushed = push(
        options.source, options.name, licence=options.licence, private=options.private, dry_run=options.dry_run
    )
    total = sum(pushed.files.values())
    lines = [f"{size:>12,} {path}" for path, size in pushed.files.items()]
    lines.append(f"licence {pushed.licence.name}{' (non-commercial)' if pushed.licence.non_commercial else ''}")
    following = f"omnidistill pull {options.name}{f'@{pushed.commit}' if pushed.commit else ''} -o SET"
    if pushed.commit is None:
        lines.append(f"would be uploaded: {total:,} bytes, with this card:\n\n{pushed.card}")
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
    tell(options, content, lines)


def pull(options: argparse.Namespace) -> None:
    """Fetch a set; print the commit that pins it."""
    from omnidistill.experiments.sharing import pull

    pulled = pull(options.reference, options.output)
    name = options.reference.partition("@")[0]
    content = {
        "output": pulled.folder,
        "rows": len(pulled.distilled),
        "bytes": pulled.distilled.bytes,
        "pinned": f"{name}@{pulled.commit}",
        "next": f"omnidistill inspect {pulled.folder}",
    }
    lines = [
        f"set     {pulled.folder} ({len(pulled.distilled)} rows, {pulled.distilled.bytes:,} bytes, verified)",
        f"pinned  {content['pinned']}",
        f"next    {content['next']}",
    ]
    tell(options, content, lines)
