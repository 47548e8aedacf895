"""All commands, grouped under the headings of the help text."""

from __future__ import annotations

import argparse
from types import ModuleType
from typing import Any

from omnidistill.cli.commands import (
    apply,
    cite,
    compare,
    completion,
    config,
    convert,
    demo,
    diagnose,
    distill,
    doctor,
    encode,
    evaluate,
    experts,
    export,
    heads,
    inspect,
    manifest,
    merge,
    migrate,
    pack,
    paper,
    plot,
    presets,
    pull,
    push,
    recipe,
    render,
    report,
    transfer,
)
from omnidistill.cli.parser import CommandGroup, Parser

COMMANDS: dict[str, tuple[ModuleType, ...]] = {
    "getting started": (demo, doctor),
    "data": (pack, encode, manifest, recipe, convert),
    "distillation": (distill, merge, experts, heads),
    "evaluation": (evaluate, compare, paper, report, plot, diagnose, render),
    "other encoders": (transfer, migrate, apply),
    "sharing": (export, push, pull),
    "information": (inspect, presets, config, cite, completion),
}
"""{heading: modules of its commands}. The most common commands come first."""

_DESCRIPTION = (
    "Compress a paired multimodal dataset into a few hundred synthetic instances on which projection heads train "
    "almost as well as on the full data."
)

_EPILOG = """examples:
  omnidistill demo                            bundled data; writes a report page
  omnidistill pack --features feats.npz --table rows.csv -o SET
  omnidistill distill SET --size 100 -o RUN   100 rows; trains heads and experts
  omnidistill distill SET --bytes 1% -o RUN   at most 1% of the data size
  omnidistill evaluate RUN

SET is a folder that 'pack' or 'encode' wrote, or the name 'emoji' for the bundled data.
Run 'omnidistill COMMAND --help' for the options and examples of a command.

exit codes:
  0    success
  1    part of a comparison failed, out of memory, or the installation is broken
  2    invalid input
  3    a computation produced NaN or Inf
  130  interrupted (143: by SIGTERM, 129: by SIGHUP); finished work is saved"""


def make_parser() -> Parser:
    """Build the program's parser with all commands.

    The parsed options have the options of the command as attributes, and in addition:

        command       the function to call; None if no command was given
        parser        the parser of the command
        program       the parser of the program
        needs_torch   whether torch must be imported before the call
    """
    parser = Parser(prog="omnidistill", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    parser.set_defaults(command=None, parser=parser, program=parser, needs_torch=False)
    subparsers = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)
    for heading, modules in COMMANDS.items():
        group = CommandGroup(heading, subparsers)
        for module in modules:
            module.add(group)
        parser.command_groups.append(group)
    return parser


class _Version(argparse.Action):
    def __call__(self, *_: Any) -> None:
        from importlib.metadata import version

        print(f"omnidistill {version('omnidistill')}")
        raise SystemExit(0)
