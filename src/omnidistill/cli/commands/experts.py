"""The `experts` command."""

from __future__ import annotations

import argparse

from omnidistill.cli.options import (
    add_device,
    add_dry_run,
    add_engine,
    add_json,
    add_set,
    add_trackers,
    set_of,
    settings_of,
)
from omnidistill.cli.output import distill_command, folder_size, print_end, print_estimate, progress
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `experts` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "experts",
        run,
        "train heads on all data and save their trajectories (experts)",
        description="Train projection heads on all data and save their trajectories (experts), from which 'distill' "
        "learns. If the output folder contains an interrupted training, resume it.",
        main_options=("--preset", "--set", "--dry-run"),
        less_memory="use fewer experts (experts.num_experts) or a smaller heads.width",
        examples=(
            "omnidistill experts SET -o BUFFER --dry-run",
            "omnidistill experts emoji --preset hopa --set experts.num_experts=5 -o BUFFER",
        ),
    )
    add_set(parser, "BUFFER")
    add_device(parser)
    add_dry_run(parser)
    add_engine(parser)
    add_trackers(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Train experts or resume their training, and store their trajectories. With `--dry-run`, only print the cost."""
    from omnidistill.api import load, train_experts

    arguments = {
        **settings_of(options),
        "heads": options.heads,
        "engine": options.engine,
        "device": options.device,
        "progress": progress(),
    }
    if options.dry_run:
        from omnidistill.experiments.dry_run import estimate_experts

        print_estimate(options, lambda: estimate_experts(set_of(options.set), **arguments))
        return
    data = load(set_of(options.set))
    buffer = train_experts(data, **arguments, folder=options.output, trackers=options.trackers)
    num_bytes = folder_size(options.output)
    following = distill_command(options.set, data.split_sizes.get("train", 0), "--experts", options.output)
    content = {"output": str(options.output), **buffer.to_json(), "bytes": num_bytes, "next": following}
    lines = [
        f"experts {options.output} ({buffer.table()}, {num_bytes:,} bytes)",
        *(f"chosen {name} = {text}" for name, text in buffer.choices.items()),
        f"files {options.output} (heads and buffer)",
        f"next {following}",
    ]
    print_end(options, {**content, "choices": buffer.choices}, lines)
