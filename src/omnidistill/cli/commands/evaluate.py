"""The `evaluate` command."""

from __future__ import annotations

import argparse
from pathlib import Path

from omnidistill.cli.options import add_device, add_json, names, set_of
from omnidistill.cli.output import command_line, print_end, print_table, progress, typed_command
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `evaluate` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "evaluate",
        run,
        "compute the scores of projection heads trained on a synthetic set, and of baselines",
        main_options=("--seeds", "--json"),
        less_memory="use fewer --seeds",
        examples=("omnidistill evaluate RUN", "omnidistill evaluate RUN --seeds 20 --json > scores.json"),
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder written by 'omnidistill distill'")
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="R",
        help="number of models (students) to train per row of the score table (default: from the settings of the run, "
        "usually 10)",
    )
    parser.add_argument(
        "--heads",
        type=Path,
        metavar="FILE|DIR",
        help="projection heads from which training on the synthetic set starts (default: the heads that were used for "
        "distillation)",
    )
    parser.add_argument(
        "--metrics",
        type=names,
        metavar="NAMES",
        help="comma-separated metrics: R@K for any K, MedR, MnR, MRR, mAP, nDCG@10 (default: all of them, with K = 1, "
        "5 and 10)",
    )
    parser.add_argument(
        "--membership",
        action="store_true",
        help="also run membership inference attacks, which use the synthetic set to tell training rows from test rows; "
        "their AUC is printed and shown in the report",
    )
    parser.add_argument("--data", metavar="SET", help="new location of the dataset, if it was moved after the run")
    add_device(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Evaluate a run's set and the baselines, and print the table; with `--json`, print the scores."""
    from omnidistill.api import evaluate
    from omnidistill.report.run_table import metrics_to_rich, to_rich

    evaluation = evaluate(
        options.run,
        None if options.data is None else set_of(options.data),
        num_seeds=options.seeds,
        metrics=options.metrics,
        membership=options.membership,
        heads=options.heads,
        device=options.device,
        progress=progress(),
        command=typed_command(),
    )
    if not options.json:
        print_table(to_rich(evaluation.scores))
        if options.metrics and (metrics := metrics_to_rich(evaluation.scores)) is not None:
            print_table(metrics)
    folder, revealed = evaluation.folder, evaluation.scores.membership
    lines = [
        *([] if revealed is None else revealed.lines()),
        *(f"chosen {name}: {text}" for name, text in evaluation.choices.items()),
        *([f"skipped {', '.join(evaluation.skipped)}: not applicable to this set"] if evaluation.skipped else []),
        f"page {folder}/report.html",
        f"files {folder}/scores.json, {folder}/scores.csv",
        f"next {command_line('export', options.run, '-o', 'set.parquet')}; {command_line('cite', options.run)}",
    ]
    print_end(options, evaluation.to_json(), lines)
