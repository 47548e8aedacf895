"""The verb `report`: what may be typed, and what is printed. No logic."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from omnidistill.cli.printing import add_json, tell


def add_report_verb(added: Any) -> None:
    """Add `report` to the verbs of a parser."""
    text = "write the page of a run, or of several side by side"
    verb: argparse.ArgumentParser = added.add_parser(
        "report", help=text, description=f"{text}: scores, curves, instances, cases"
    )
    verb.set_defaults(verb=report)
    verb.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="finished; scores are there once evaluated")
    verb.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: report.html in the first RUN")
    verb.add_argument(
        "--media", type=Path, metavar="MANIFEST", help="the items that were encoded: captions, pictures, sounds"
    )
    verb.add_argument("--root", type=Path, metavar="DIR", help="where its paths begin (default: its folder)")
    verb.add_argument("--data", metavar="SET", help="where the data are now, if they moved")
    add_json(verb)


def report(options: argparse.Namespace) -> None:
    """Write the page; print where it is, what it weighs and what it lacks."""
    from omnidistill.encoding.manifests.manifest import read_manifest
    from omnidistill.experiments.run_page import write_report

    output = options.output or options.runs[0] / "report.html"
    media = None if options.media is None else read_manifest(options.media, options.root)
    views = write_report(options.runs, output, media=media, data_reference=options.data)
    unscored = [str(run) for run, view in zip(options.runs, views, strict=True) if not view.scored]
    num_bytes = output.stat().st_size
    lines = [f"note   {run}: not scored; for the scores: omnidistill evaluate {run}" for run in unscored]
    lines += [f"page   {output} ({num_bytes / 1e6:.2f} MB)", "next   open it in a browser"]
    tell(options, {"output": output, "bytes": num_bytes, "runs": len(views), "unscored": unscored}, lines)
