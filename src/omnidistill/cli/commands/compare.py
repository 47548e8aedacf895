"""The `compare` command."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from omnidistill.cli.crossed_options import add_crossed_options, is_crossed, run_crossed
from omnidistill.cli.options import (
    add_device,
    add_dry_run,
    add_engine,
    add_json,
    add_repetitions,
    names,
    numbers,
    set_of,
)
from omnidistill.cli.output import (
    command_line,
    print_end,
    print_estimate,
    print_table,
    print_text,
    progress,
    typed_command,
)
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `compare` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "compare",
        run,
        "compare distillation methods at several sizes and random seeds",
        main_options=("--preset", "--methods", "--sizes", "--bytes", "--seeds", "--resume", "--dry-run"),
        less_memory="use fewer --students, or smaller --sizes",
        examples=(
            "omnidistill compare emoji --preset quick -o CMP --dry-run",
            "omnidistill compare SET --methods anchor,apm,k-medoids --sizes 100,200 -o CMP",
            "omnidistill compare SET --preset crossed --models linear --parts table -o CMP",
        ),
    )
    parser.add_argument(
        "set", metavar="SET", help="dataset folder written by 'pack' or 'encode', or 'emoji' for the bundled dataset"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="output folder; it can contain several comparisons",
    )
    parser.add_argument("--preset", metavar="NAME", help="name of a built-in comparison, such as paper-table-1")
    parser.add_argument(
        "--benchmark",
        metavar="NAME",
        help="with a --preset from the HoPA paper (arXiv 2604.10666): use the paper's settings for msrvtt (the "
        "default), vggsound or didemo",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE.toml", help="TOML file that describes a comparison; replaces --preset"
    )
    parser.add_argument(
        "--methods",
        type=names,
        metavar="A,B",
        help="comma-separated methods to compare; 'omnidistill presets' lists all",
    )
    parser.add_argument(
        "--sizes",
        type=numbers,
        metavar="N,N",
        help="sizes of the synthetic sets in rows, for example 100,200 (default: 100)",
    )
    parser.add_argument(
        "--bytes",
        type=names,
        metavar="B,B",
        help="sizes of the synthetic sets in bytes (20kB,200kB) or in percent of the training features (0.1%%,1%%); "
        "replaces --sizes",
    )
    add_repetitions(parser)
    parser.add_argument(
        "--metrics",
        type=names,
        metavar="NAMES",
        help="comma-separated metrics, such as R@1,R@50,MRR (default: R@1, R@5, R@10, MedR, MnR, MRR, mAP, nDCG@10)",
    )
    parser.add_argument(
        "--layout",
        metavar="NAME",
        help="layout of the result table: retrieval (recall and cost), variants (mean recall per size), cost (time and "
        "bytes), directions (recall per retrieval direction) or curve (gain retained per size). Gain retained is the "
        "improvement in recall from training on the set, as a percentage of the improvement from training on all rows",
    )
    parser.add_argument(
        "--heads",
        type=Path,
        metavar="FILE|DIR",
        help="initial projection heads of all students: a .safetensors file, or a folder written by 'heads'",
    )
    parser.add_argument(
        "--set",
        dest="set_values",
        action="append",
        metavar="KEY=VALUE",
        help="change one setting in all methods that have it, for example distill.iterations=500; can be repeated",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="resume an interrupted comparison in the output folder, or add another comparison to the folder",
    )
    add_crossed_options(parser)
    add_device(parser)
    add_dry_run(parser)
    add_json(parser)
    add_engine(parser)


def _metrics_setting(options: argparse.Namespace) -> list[str]:
    """Convert the option `--metrics` to a list of settings in the form KEY=VALUE.

    For example, `--metrics R@1,MRR` becomes ['evaluate.metrics=["R@1", "MRR"]']. Without the option, the list is empty.
    """
    return [] if options.metrics is None else [f"evaluate.metrics={json.dumps(options.metrics)}"]


def run(options: argparse.Namespace) -> int:
    """Run the missing parts of a comparison, and print its table. Return 1 if a method failed.

    With `--dry-run`, only print the estimated cost.
    """
    if is_crossed(options):
        return run_crossed(options)
    from omnidistill.api import compare
    from omnidistill.report.comparison_table import to_rich

    settings = [*(options.set_values or ()), *_metrics_setting(options)]
    arguments = {
        "methods": options.methods or (),
        "sizes": options.sizes,
        "bytes": options.bytes,
        "seeds": options.seeds,
        "num_students": options.students,
        "settings": settings or None,
        "layout": options.layout,
        "preset": options.preset,
        "benchmark": options.benchmark,
        "config": options.config,
        "heads": options.heads,
        "engine": options.engine,
        "device": options.device,
        "progress": progress(),
    }
    if options.dry_run:
        from omnidistill.experiments.dry_run import estimate_comparison

        print_estimate(options, lambda: estimate_comparison(set_of(options.set), **arguments))
        return 0
    compared = compare(
        set_of(options.set), **arguments, folder=options.output, resume=options.resume, command=typed_command()
    )
    if not options.json:
        print_table(to_rich(compared.content), width=100)
    evaluated = max((row.choices or 0 for row in compared.content.rows), default=0)
    lines = [
        *([f"chosen training settings on validation, out of up to {evaluated} students per row"] if evaluated else []),
        *(f"skipped {cell}: failed; repeat the command with --resume" for cell in compared.failures),
        f"files {compared.file('.md')} (also .csv, .tex, .json{', .svg' if compared.file('.svg') else ''})",
        f"next {command_line('cite', options.output)}",
    ]
    print_end(options, compared.to_json(), lines)
    for cell, error in compared.failures.items():
        print_text(f"omnidistill: {cell}: {error}", to_stderr=True)
    return 1 if compared.failures else 0
