"""The verb `report`: what may be typed, and what is printed. No logic."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_report_verb(added: Any) -> None:
    """Add `report` to the verbs of a parser."""
    text = "write the page of a run, or of several side by side: scores, curves, instances, cases"
    verb: argparse.ArgumentParser = added.add_parser("report", help=text, description=text, allow_abbrev=False)
    verb.set_defaults(verb=report)
    verb.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="finished; scores are there once evaluated")
    verb.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: report.html in the first RUN")
    verb.add_argument(
        "--media", type=Path, metavar="MANIFEST", help="the items that were encoded: captions, pictures, sounds"
    )
    verb.add_argument("--root", type=Path, metavar="DIR", help="where its paths begin (default: its folder)")
    verb.add_argument("--data", metavar="SET", help="where the data are now, if they moved")


def report(options: argparse.Namespace) -> None:
    """Write the page; print where it is, what it weighs and what it lacks."""
    from omnidistill.manifest.table import read_manifest
    from omnidistill.showing import write_report

    output = options.output or options.runs[0] / "report.html"
    media = None if options.media is None else read_manifest(options.media, options.root)
    views = write_report(options.runs, output, media=media, data_reference=options.data)
    for run, view in zip(options.runs, views, strict=True):
        if not view.scored:
            print(f"note   {run}: not scored; for the scores: omnidistill evaluate {run}")
    print(f"page   {output} ({output.stat().st_size / 1e6:.2f} MB)")
