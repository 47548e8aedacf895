"""The `completion` command."""

from __future__ import annotations

import argparse

from omnidistill.cli.completion_scripts import SHELLS, completion_script
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `completion` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "completion",
        run,
        "print a script that lets a shell complete commands and options",
        examples=(
            'eval "$(omnidistill completion bash)"',
            "omnidistill completion fish > ~/.config/fish/completions/omnidistill.fish",
        ),
        needs_torch=False,
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=f"one of {', '.join(SHELLS)}")


def run(options: argparse.Namespace) -> None:
    """Print the completion script for a shell."""
    print(completion_script(options.program, options.shell), end="")
