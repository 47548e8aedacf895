"""The command `presets`."""

from __future__ import annotations

import argparse

from omnidistill.cli.options import add_json
from omnidistill.cli.output import print_result
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the command to a group."""
    parser = group.add_command(
        "presets",
        run,
        "list the methods and comparisons included in the package",
        main_options=("--json",),
        examples=("omnidistill presets",),
    )
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """List the presets of methods and comparisons."""
    from omnidistill.experiments.config import describe_comparisons, describe_presets

    presets, comparisons = describe_presets(), describe_comparisons()
    width = max(map(len, [*presets, *comparisons]))
    lines = []
    for title, descriptions in (
        ("methods (--preset of distill, --methods of compare)", presets),
        ("comparisons (--preset of compare)", comparisons),
    ):
        lines += [title, *(f"  {name:{width}}  {text}" for name, text in descriptions.items())]
    print_result(options, {"methods": presets, "comparisons": comparisons}, lines)
