"""The `distill` command."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from omnidistill.cli.options import add_device, add_dry_run, add_json, add_set, add_trackers, set_of, settings_of
from omnidistill.cli.output import print_estimate, print_result, progress, typed_command
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `distill` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "distill",
        run,
        "learn a synthetic set; train heads and experts first if needed",
        main_options=("--size", "--bytes", "--preset", "--set", "--resume", "--dry-run"),
        examples=(
            "omnidistill distill emoji --size 30 -o RUN",
            "omnidistill distill SET --bytes 1% --heads HEADS -o RUN",
            "omnidistill distill SET --preset hopa --set distill.iterations=500 -o RUN --dry-run",
        ),
    )
    add_set(parser, "RUN")
    parser.add_argument(
        "--size", type=int, metavar="N", help="number of synthetic rows (default: set by the preset, usually 100)"
    )
    parser.add_argument(
        "--bytes",
        metavar="B",
        help="size budget in bytes (200000, 64kB, 1.5M) or as a share of the training features (1%%); the set gets as "
        "many rows as fit, stored with 4 bits per number by default",
    )
    parser.add_argument("--experts", type=Path, metavar="BUFFER", help="expert buffer that 'experts' wrote")
    parser.add_argument(
        "--from", dest="initial_set", type=Path, metavar="RUN", help="start from the rows of an existing set"
    )
    parser.add_argument(
        "--resume", action="store_true", help="resume the run in RUN; the result is the same as without interruption"
    )
    parser.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="stop after N validations without a better score; 0: never (default: that of the preset)",
    )
    add_device(parser)
    add_dry_run(parser)
    add_trackers(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Learn a synthetic set and print its size and settings, or with `--dry-run` print the estimated cost."""
    from omnidistill.api import distill

    arguments = {
        "size": options.size,
        "bytes": options.bytes,
        **_settings(options),
        "heads": options.heads,
        "experts": options.experts,
        "initial_set": options.initial_set,
        "device": options.device,
        "progress": progress(),
    }
    if options.dry_run:
        from omnidistill.experiments.dry_run import estimate_distill

        print_estimate(options, lambda: estimate_distill(set_of(options.set), **arguments))
        return
    result = distill(
        set_of(options.set),
        **arguments,
        folder=options.output,
        resume=options.resume,
        trackers=options.trackers,
        command=typed_command(),
    )
    following = f"omnidistill evaluate {options.output}"
    print_result(options, {**result.to_json(), "next": following}, [result.table(), f"next     {following}"])


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the keyword arguments for the run's settings. `--patience` becomes the setting `distill.patience`.

    Raises:
        InputError: `--patience` is given, and `--set` sets `distill.patience` too.
    """
    from omnidistill.core.errors import InputError

    arguments = settings_of(options)
    if options.patience is None:
        return arguments
    if any(text.partition("=")[0].strip() == "distill.patience" for text in arguments["settings"]):
        raise InputError("--patience and --set distill.patience: both set distill.patience; use only one")
    return {**arguments, "settings": [*arguments["settings"], f"distill.patience={options.patience}"]}
