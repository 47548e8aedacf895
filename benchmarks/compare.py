"""Create the tables of docs/results.md: `python benchmarks/compare.py [--quick | NAME ...] [-o DIR]`.

Each table is a comparison from the package on the bundled data, created with the command that is printed above the
table. Finished results in DIR are reused, so an interrupted run can be resumed. The numbers are stored in
results/compare/NAME.json, together with the commit, the machine and the minutes. docs/results.md and its figure are
written from all of these files, from the output of datasets.py, unseen_heads.py, transfer.py, rendered.py and
proxy_study.py, and from results/crossed.md (`compare --preset crossed`). A quick run only prints its table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import RESULTS, machine
from omnidistill.experiments.config import describe_comparisons
from omnidistill.report.comparison_content import Comparison
from omnidistill.report.comparison_table import to_markdown
from omnidistill.report.gain_figure import gain_figure

OURS = ("default-rows", "default-bytes", "default-sizes", "bytes")
TABLES = (*OURS, "methods", "similarities", "hopa-pairs", "hopa-variants", "hopa-costs", "directions")
ROOT = Path(__file__).parent.parent
KEPT = RESULTS / "compare"
OTHERS = {
    "datasets": "Other data",
    "unseen_heads": "Unseen heads",
    "transfer": "Other encoders",
    "rendered": "Rendered media, read by another encoder",
    "crossed": "Every set with every recipe and every model",
    "migrate": "Migrating an index",
    "proxy_study": "When does the proxy help?",
    "growing": "Merging and growing sets",
}
FIGURES = {"bytes": "figures/gain-against-bytes.svg"}
HEAD = """# Results

All tables use the bundled data: emoji drawings, their names, and the names spoken aloud. `make compare` reproduces all
tables, and `make compare-quick` one small table in minutes. Settings were chosen on validation (LOG.md) and never on
these results, with one exception: `own_share` of `portable` (LOG.md, 13). The minutes exclude work that earlier tables
had done.
"""
OLD = """

This table was measured before metrics became expectations over ties, before bytes counted all files that a receiver
needs, before means were rounded to 8 bits, and before the best on all rows was a baseline; its intervals are from a
bootstrap. The metric itself moves these numbers by at most 0.1 points (LOG.md, 19)."""


def run(name: str, folder: Path, seeds: str | None = None) -> int:
    """Run a comparison, or its missing parts, in `folder`; return 1 if a method failed (the table names it), else 0."""
    command = [sys.executable, "-m", "omnidistill", *words(name, str(folder), seeds)]
    begun = time.monotonic()
    try:
        code = subprocess.run(command).returncode
    finally:
        if folder.exists():
            spent = minutes_spent(name, folder) + (time.monotonic() - begun) / 60
            (folder / f"{name}.minutes").write_text(f"{spent:.2f}\n")
    if code not in (0, 1):
        raise SystemExit(code)
    return code


def words(name: str, folder: str, seeds: str | None) -> list[str]:
    """Return the arguments of the command `omnidistill`."""
    chosen = ["--seeds", seeds] if seeds else []
    return ["compare", "emoji", "--preset", name, *chosen, "-o", folder, "--resume"]


def minutes_spent(name: str, folder: Path) -> float:
    """Return the minutes spent so far on a comparison in `folder`, summed over all calls."""
    path = folder / f"{name}.minutes"
    return float(path.read_text()) if path.exists() else 0.0


def keep(name: str, folder: Path, seeds: str | None) -> None:
    """Store the numbers of a comparison together with their source: commit, machine and minutes."""
    source = {"commit": commit(), "machine": machine(), "minutes": minutes_spent(name, folder)}
    tree = json.loads((folder / f"{name}.json").read_text())
    tree["command"] = " ".join(["omnidistill", *words(name, "DIR", seeds)])
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{name}.json").write_text(json.dumps({"source": source, "comparison": tree}, indent=1) + "\n")


def page(kept: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the text of docs/results.md."""
    titles = describe_comparisons()
    parts = [HEAD]
    for name, record in kept.items():
        source = record["source"]
        figure = f"![{titles[name]}]({FIGURES[name]})\n\n" if name in FIGURES else ""
        old = "" if any(line.get("coverage") for line in record["comparison"]["lines"]) else OLD
        parts.append(
            f"## {titles[name]}\n\n`{record['comparison']['command']}`, commit {source['commit']}, "
            f"{source['minutes']:.0f} minutes. {source['machine']}{old}\n\n{figure}{to_markdown(content(name, record))}"
        )
    for name, title in OTHERS.items():
        table = RESULTS / f"{name}.md"
        if table.exists():
            script = Path(__file__).with_name(f"{name}.py")
            command = f"`python benchmarks/{script.name}`. " if script.exists() else ""
            parts.append(f"## {title}\n\n{command}{table.read_text()}")
    return "\n".join(parts)


def content(name: str, record: Mapping[str, Any]) -> Comparison:
    """Return the comparison in a stored record."""
    return Comparison.from_json(record["comparison"], f"{KEPT / name}.json")


def commit() -> str:
    """Return the commit of the working tree, followed by "+" if its sources have uncommitted changes."""
    found, changed = (
        subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
        for words in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "src"])
    )
    return found + ("+" if changed else "")


def write(names: Sequence[str]) -> None:
    """Write docs/results.md and its figures from all stored numbers."""
    kept = {name: json.loads((KEPT / f"{name}.json").read_text()) for name in names if (KEPT / f"{name}.json").exists()}
    docs = ROOT / "docs"
    (docs / "results.md").write_text(page(kept))
    for name in FIGURES.keys() & kept.keys():
        (docs / FIGURES[name]).parent.mkdir(exist_ok=True)
        (docs / FIGURES[name]).write_text(gain_figure(content(name, kept[name])))


def main() -> None:
    parser = argparse.ArgumentParser(description="Create the tables of docs/results.md.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(TABLES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="print one small table; takes less than five minutes")
    parser.add_argument("-o", "--output", type=Path, default=Path("compare-run"), metavar="DIR")
    parser.add_argument("--seeds", metavar="S,S", help="seeds to use instead of those in the comparisons")
    options = parser.parse_args()
    if options.quick:
        raise SystemExit(run("quick", options.output))
    unknown = set(options.names) - set(TABLES)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(TABLES)}")
    failed = 0
    for name in options.names or TABLES:
        failed |= run(name, options.output, options.seeds)
        keep(name, options.output, options.seeds)
        write(TABLES)
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
