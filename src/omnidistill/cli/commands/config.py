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
        "print the settings that a new run would use, or explain every setting",
        main_options=("--preset", "--set", "--explain"),
        examples=(
            "omnidistill config --preset hopa > run.json",
            "omnidistill config --config run.json --set distill.iterations=500",
            "omnidistill config --preset hopa --explain",
        ),
    )
    add_settings(parser)
    parser.add_argument("--explain", action="store_true", help="print the value, unit and purpose of every setting")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Print the resolved settings, or with `--explain` describe every setting."""
    from omnidistill.experiments.config import describe_fields, requested_config

    config = requested_config(**settings_of(options))
    if options.explain:
        fields = describe_fields(config)
        content: dict[str, object] = {}
        for key, value, text in fields:  # the first value of a key is that of the selected kind
            content.setdefault(key, {"default": value or None, "explanation": text})
        print_result(options, content, [f"{key:42} {value:>16}  {text}" if value else f"\n{key}: {text}"
                                        for key, value, text in fields])  # fmt: skip
    else:
        print_result(options, config.to_json(), [json.dumps(config.to_json(), indent=1, ensure_ascii=False)])
