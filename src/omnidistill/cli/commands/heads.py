"""The command `heads`."""

from __future__ import annotations

import argparse
from typing import Any

from omnidistill.cli.options import add_json, add_set, config_of, require_absent
from omnidistill.cli.output import print_result, progress
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the command to a group."""
    parser = group.add_command(
        "heads",
        run,
        "pre-train projection heads, or import existing ones",
        main_options=("--preset", "--set"),
        examples=("omnidistill heads SET -o HEADS", "omnidistill heads SET --heads given.safetensors -o HEADS"),
    )
    add_set(parser, "HEADS")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Pre-train or import heads; print their path, shapes and origin."""
    from omnidistill.experiments.run import make_heads, open_data
    from omnidistill.models.heads import load_heads

    require_absent(options.output)
    config = config_of(options)
    data = open_data(options.set, config)
    heads = make_heads(data, config, options.output, options.heads, progress())
    meta = load_heads(options.output, data.widths)[1]
    width = next(iter(heads.values())).shape[0]
    following = f"omnidistill distill {options.set} --heads {options.output} --size 100 -o RUN"
    content = {"output": str(options.output), "width": width, "inputs": data.widths, **_origin(meta), "next": following}
    inputs = ", ".join(f"{name} {width_in}" for name, width_in in data.widths.items())
    lines = [
        f"heads  {options.output} ({inputs} -> {width})",
        f"origin {', epoch '.join(str(each) for each in _origin(meta).values())}",
        f"next   {following}",
    ]
    print_result(options, content, lines)


def _origin(meta: dict[str, Any]) -> dict[str, Any]:
    """Return the origin of heads, and the selected epoch if they were trained here."""
    trained = "epoch" in meta and meta["origin"] != "random"
    return {"origin": meta["origin"], **({"epoch": meta["epoch"]} if trained else {})}
