"""The `distill` command."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from omnidistill.cli.options import add_device, add_dry_run, add_json, add_set, add_trackers, set_of, settings_of
from omnidistill.cli.output import command_line, print_end, print_estimate, progress, typed_command
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `distill` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "distill",
        run,
        "learn a small synthetic set that replaces a dataset in training",
        description="Learn a small synthetic set that replaces a dataset in training. If the method needs projection "
        "heads or expert trajectories that are not given, the command first trains them.",
        main_options=("--size", "--bytes", "--preset", "--set", "--resume", "--dry-run"),
        less_memory="use a smaller --size or heads.width, or fewer experts (experts.num_experts)",
        examples=(
            "omnidistill distill emoji --size 30 -o RUN",
            "omnidistill distill SET --bytes 1% --heads HEADS -o RUN",
            "omnidistill distill SET --preset hopa --set distill.iterations=500 -o RUN --dry-run",
            "omnidistill distill --add NEW --from RUN -o RUN2",
        ),
    )
    add_set(parser, "RUN", required=False)
    parser.add_argument(
        "--size", type=int, metavar="N", help="number of synthetic rows (default: from the preset, usually 100)"
    )
    parser.add_argument(
        "--bytes",
        metavar="B",
        help="size of the synthetic set in bytes (200000, 64kB, 1.5M) or in percent of the training features (1%%); "
        "replaces --size. The set gets as many rows as fit. With --bytes, the default of --preset is 'anchor-coded'",
    )
    parser.add_argument(
        "--experts",
        type=Path,
        metavar="BUFFER",
        help="folder of expert trajectories written by 'omnidistill experts' (default: train them if the method needs "
        "them)",
    )
    parser.add_argument(
        "--from",
        dest="initial_set",
        type=Path,
        metavar="RUN",
        help="existing run or synthetic set. Without --add, distillation starts from its synthetic rows. With --add, "
        "they are merged with the rows distilled from NEW",
    )
    parser.add_argument(
        "--add",
        metavar="NEW",
        help="new dataset, given instead of SET. The command distils only NEW, and merges the result with the "
        "synthetic set of --from RUN. The data of that earlier run are not needed",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="resume the interrupted run in RUN; the result is the same as without the interruption",
    )
    parser.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="stop when the best validation score has not improved for N validations; 0 disables early stopping "
        "(default: from the preset)",
    )
    add_device(parser)
    add_dry_run(parser)
    add_trackers(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Learn a synthetic set and print its size and settings, or with `--dry-run` print the estimated cost."""
    from omnidistill.api import distill

    source = _source(options)
    arguments = {
        "size": options.size,
        "bytes": options.bytes,
        **_settings(options),
        "heads": options.heads,
        "experts": options.experts,
        "initial_set" if options.add is None else "add_to": options.initial_set,
        "device": options.device,
        "progress": progress(),
    }
    if options.dry_run:
        from omnidistill.experiments.dry_run import estimate_distill

        print_estimate(options, lambda: estimate_distill(source, **arguments))
        return
    result = distill(
        source,
        **arguments,
        folder=options.output,
        resume=options.resume,
        trackers=options.trackers,
        command=typed_command(),
    )
    following = command_line("evaluate", options.output)
    files = f"files {result.folder} (distilled, heads, metrics.jsonl and run.json)"
    lines = [*result.table().splitlines(), files, f"next {following}"]
    print_end(options, {**result.to_json(), "next": following}, lines)


def _source(options: argparse.Namespace) -> str | Path:
    """Return the dataset to distil: the argument SET, or NEW if the command contains `--add NEW --from RUN`.

    Raises:
        InputError: SET and `--add` are both given, both are missing, or `--add` is given without `--from`.
    """
    from omnidistill.core.errors import InputError

    if (options.set is None) == (options.add is None):
        raise InputError("distill: pass either the dataset SET, or --add NEW --from RUN to add new data to a run")
    if options.add is None:
        return set_of(options.set)
    if options.initial_set is None:
        raise InputError(f"--add {options.add}: --from is missing; use --from RUN to name the run that gets the data")
    return set_of(options.add)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of the run as the keyword arguments `preset`, `config`, `settings` and `seed` of `distill`.

    The option `--patience N` is added to `settings` as "distill.patience=N".

    Raises:
        InputError: `distill.patience` is set twice, by `--patience` and by `--set`.
    """
    from omnidistill.core.errors import InputError

    arguments = settings_of(options)
    if options.patience is None:
        return arguments
    if any(text.partition("=")[0].strip() == "distill.patience" for text in arguments["settings"]):
        raise InputError("--patience and --set distill.patience: both set distill.patience; use only one")
    return {**arguments, "settings": [*arguments["settings"], f"distill.patience={options.patience}"]}
