"""The command `experts`."""

from __future__ import annotations

import argparse

from omnidistill.cli.options import add_dry_run, add_engine, add_json, add_set, add_trackers, config_of
from omnidistill.cli.output import folder_size, print_result, progress
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the command to a group."""
    parser = group.add_command(
        "experts",
        run,
        "train expert trajectories, or resume an interrupted training",
        main_options=("--preset", "--set", "--dry-run"),
        examples=(
            "omnidistill experts SET -o BUFFER --dry-run",
            "omnidistill experts emoji --preset hopa --set experts.num_experts=5 -o BUFFER",
        ),
    )
    add_set(parser, "BUFFER")
    add_dry_run(parser)
    add_engine(parser)
    add_trackers(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Train an expert buffer, or resume its training; with `--dry-run` print the estimated cost."""
    from omnidistill.core.engines import engine_from
    from omnidistill.experiments.run import run_experts

    config = config_of(options)
    if options.dry_run:
        from omnidistill.experiments.dry_run import rehearse_experts

        estimate = rehearse_experts(options.set, config, options.heads, progress(), engine_from(options.engine))
        print_result(options, estimate.content(), estimate.lines())
        return
    with engine_from(options.engine) as engine:
        buffer = run_experts(options.set, config, options.output, options.heads, progress(), options.trackers, engine)
    num_bytes = folder_size(options.output)
    following = f"omnidistill distill {options.set} --experts {options.output} --size 100 -o RUN"
    content = {
        "output": str(options.output),
        "experts": buffer.num_experts,
        "epochs": buffer.num_epochs,
        "seconds": buffer.seconds,
        "bytes": num_bytes,
        "next": following,
    }
    runs = f"{buffer.num_experts} runs x {buffer.num_epochs} epochs"
    lines = [
        f"experts  {options.output} ({runs}, {buffer.seconds:.0f} s, {num_bytes:,} bytes)",
        f"next     {following}",
    ]
    print_result(options, content, lines)
