"""The `doctor` command."""

from __future__ import annotations

import argparse

from omnidistill.cli.options import add_json
from omnidistill.cli.output import print_result
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `doctor` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "doctor",
        run,
        "check this machine and the installation: versions, speed, disk",
        main_options=("--json",),
        examples=("omnidistill doctor", "omnidistill doctor --json"),
        needs_torch=False,
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the results of the checks. Return 1 if a required part does not work."""
    from omnidistill.core.doctor import examine

    result = examine()
    print_result(options, result.content(), result.lines())
    return 1 if result.broken else 0
