"""The `heads` command."""

from __future__ import annotations

import argparse

from omnidistill.cli.options import add_device, add_force, add_json, add_set, set_of, settings_of
from omnidistill.cli.output import distill_command, print_result, progress
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `heads` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "heads",
        run,
        "pre-train projection heads, or import existing ones",
        main_options=("--preset", "--set"),
        less_memory="use a smaller heads.width or heads.batch_size",
        examples=("omnidistill heads SET -o HEADS", "omnidistill heads SET --heads given.safetensors -o HEADS"),
    )
    add_set(parser, "HEADS", heads="existing projection heads to import instead of pre-training new ones")
    add_force(parser, "existing heads")
    add_device(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Pre-train or import projection heads, and print their path, shapes and origin."""
    from omnidistill.api import load, pretrain_heads

    data = load(set_of(options.set))
    heads = pretrain_heads(
        data,
        **settings_of(options),
        heads=options.heads,
        folder=options.output,
        force=options.force,
        device=options.device,
        progress=progress(),
    )
    following = distill_command(options.set, data.split_sizes.get("train", 0), "--heads", options.output)
    lines = [f"heads  {options.output} ({heads.shapes})", f"origin {heads.origin}", f"next   {following}"]
    print_result(options, {"output": str(options.output), **heads.to_json(), "next": following}, lines)
