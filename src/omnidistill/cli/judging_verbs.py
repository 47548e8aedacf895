"""The verbs `demo`, `evaluate` and `compare`: what may be typed, and what is printed. No logic."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from omnidistill.cli.encode_verb import add_engine
from omnidistill.cli.printing import add_json, command, print_table, progress, tell
from omnidistill.cli.settings import add_dry_run, add_verb


def add_demo_verb(added: Any) -> None:
    """Add `demo` to the subparsers of the command line."""
    verb = add_verb(added, "demo", demo, "distil the bundled image-text-audio triplets: four minutes")
    verb.add_argument("-o", "--output", type=Path, default=Path("demo-run"), metavar="DIR", help="default: demo-run")
    add_json(verb)


def add_evaluate_verb(added: Any) -> None:
    """Add `evaluate` to the subparsers of the command line."""
    verb = add_verb(added, "evaluate", evaluate, "train on a set and score it beside every reference line")
    verb.add_argument("run", type=Path, metavar="RUN", help="a folder made by 'distill'")
    verb.add_argument("--seeds", type=int, metavar="R", help="students a line (default: from the run, 10)")
    verb.add_argument(
        "--heads", type=Path, metavar="FILE|DIR", help="heads to train on the set instead of those it was made for"
    )
    verb.add_argument("--data", metavar="SET", help="where the data are now, if they moved")
    add_json(verb)


def add_compare_verb(added: Any) -> None:
    """Add `compare` to the subparsers of the command line."""
    verb = add_verb(added, "compare", compare, "make and score a set for every method, size and seed")
    verb.add_argument("set", metavar="SET", help="a folder made by 'pack' or 'encode', or 'emoji'")
    verb.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="may hold several comparisons")
    verb.add_argument("--preset", metavar="NAME", help="a comparison that ships with the package: paper-table-1 ...")
    verb.add_argument("--config", type=Path, metavar="FILE.toml", help="a comparison of your own")
    verb.add_argument("--methods", type=_names, metavar="A,B", help="presets of methods, see 'omnidistill presets'")
    verb.add_argument("--sizes", type=_numbers, metavar="N,N", help="synthetic rows (default: 100)")
    verb.add_argument("--bytes", type=_names, metavar="B,B", help="budgets instead of sizes: 0.1%%,1%% or 20kB,200kB")
    verb.add_argument("--seeds", type=_numbers, metavar="N,N", help="one set is made with each (default: 0,1,2)")
    verb.add_argument("--students", type=int, metavar="R", help="students a set (default: 5)")
    verb.add_argument("--layout", metavar="NAME", help="retrieval, variants, cost, directions or curve")
    verb.add_argument("--heads", type=Path, metavar="FILE|DIR", help="heads that every student starts from")
    verb.add_argument(
        "--set", dest="set_values", action="append", metavar="KEY=VALUE", help="for every method that has the setting"
    )
    verb.add_argument("--resume", action="store_true", help="go on in DIR, or add another comparison to it")
    add_dry_run(verb)
    add_json(verb)
    add_engine(verb)


def demo(options: argparse.Namespace) -> None:
    """Run the demonstration; print its table and where the page is."""
    from omnidistill.experiments.demo import PRESETS, run_demo
    from omnidistill.report.run_table import to_rich

    demo = run_demo(options.output, progress=progress())
    following = f"omnidistill inspect {options.output / PRESETS[-1]}"
    if not options.json:
        print_table(to_rich(demo.scores))
    content = {"scores": demo.scores, "own_gains": demo.own_gains, "table": demo.table, "page": demo.page}
    lines = [*demo.own_gains, f"table  {demo.table}", f"page   {demo.page}", f"next   {following}"]
    tell(options, {**content, "next": following}, lines)


def evaluate(options: argparse.Namespace) -> None:
    """Score a run beside its references; print the table, or the scores as JSON."""
    from omnidistill.experiments.evaluate_run import evaluate_run
    from omnidistill.experiments.run import open_run
    from omnidistill.report.run_table import to_rich

    run = open_run(options.run)
    evaluated = evaluate_run(
        run,
        num_seeds=options.seeds,
        data_reference=options.data,
        heads=options.heads,
        command=command(),
        progress=progress(),
    )
    if not options.json:
        print_table(to_rich(evaluated.scores))
    place = evaluated.folder
    lines = [
        f"scores {place / 'scores.json'}, {place / 'scores.csv'}",
        f"page   {place / 'report.html'}",
        f"next   omnidistill export {options.run} -o set.parquet; omnidistill cite {options.run}",
    ]
    tell(options, evaluated.scores, lines)


def compare(options: argparse.Namespace) -> int:
    """Make what is missing of a comparison; print its table. 1 where a method failed. Or say what it would take."""
    from omnidistill.config import load_comparison
    from omnidistill.core.engines import engine_from
    from omnidistill.experiments.comparison import compare
    from omnidistill.report.comparison_table import to_rich

    name, comparison = load_comparison(
        options.config,
        options.preset,
        options.methods or (),
        sizes=options.sizes,
        bytes=options.bytes,
        seeds=options.seeds,
        num_students=options.students,
        layout=options.layout,
        settings=options.set_values,
    )
    if options.dry_run:
        from omnidistill.experiments.dry_run import rehearse_comparison

        foreseen = rehearse_comparison(options.set, comparison, options.heads, progress(), engine_from(options.engine))
        tell(options, foreseen.content(), foreseen.lines())
        return 0
    with engine_from(options.engine) as engine:
        compared = compare(
            options.set,
            comparison,
            options.output,
            name=name,
            heads=options.heads,
            resume=options.resume,
            command=command(),
            progress=progress(),
            engine=engine,
        )
    if options.json:
        print(json.dumps(compared.content, allow_nan=False))
    else:
        print_table(to_rich(compared.content), width=100)
        print(f"table  {compared.table} (also .csv, .tex, .json{', .svg' if compared.figure else ''})")
        print(f"next   omnidistill cite {options.output}")
    for cell, error in compared.failures.items():
        print(f"omnidistill: {cell}: {error}", file=sys.stderr)
    return 1 if compared.failures else 0


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in _names(text)]
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of whole numbers such as 100,200") from None
