"""The `config` command."""

from __future__ import annotations

import argparse
import json

from omnidistill.cli.options import add_json, add_settings, settings_of
from omnidistill.cli.output import print_result
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `config` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "config",
        run,
        "print the settings for a run, or explain every setting",
        main_options=("--preset", "--set", "--explain"),
        examples=("omnidistill config --preset hopa > run.json", "omnidistill config --explain"),
    )
    add_settings(parser)
    parser.add_argument("--explain", action="store_true", help="print the default, unit and purpose of every setting")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Print the resolved settings, or with `--explain` describe every setting."""
    from omnidistill.experiments.config import RunConfig, describe_fields, requested_config

    if options.explain:
        fields = list(describe_fields(RunConfig))
        content = {key: {"default": default or None, "explanation": text} for key, default, text in fields}
        print_result(options, content, [f"{key:42} {default:>16}  {text}" if default else f"\n{key}: {text}"
                                        for key, default, text in fields])  # fmt: skip
    else:
        config = requested_config(**settings_of(options))
        print_result(options, config.to_json(), [json.dumps(config.to_json(), indent=1, ensure_ascii=False)])
