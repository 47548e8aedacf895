"""The `presets` command."""

from __future__ import annotations

import argparse

from omnidistill.cli.options import add_json
from omnidistill.cli.output import print_result
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the `presets` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "presets",
        run,
        "list the names of all methods, comparisons and components",
        description="List the names that options and settings accept: methods (for distill --preset and compare "
        "--methods), comparisons (for compare --preset), and components of settings, such as objectives.",
        main_options=("--json",),
        examples=("omnidistill presets",),
    )
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """List the presets for methods and comparisons, and the components that can be selected in settings."""
    from omnidistill.experiments.components import component_registries
    from omnidistill.experiments.config import describe_comparisons, describe_presets

    presets, comparisons = describe_presets(), describe_comparisons()
    components = {where: registry.list() for where, registry in component_registries().items()}
    sections = {
        "methods (for distill --preset and compare --methods)": presets,
        "comparisons (for compare --preset)": comparisons,
        **{f"components: {where}": descriptions for where, descriptions in components.items()},
    }
    width = max(len(name) for descriptions in sections.values() for name in descriptions)
    lines = []
    for title, descriptions in sections.items():
        lines += [title, *(f"  {name:{width}}  {text}" for name, text in descriptions.items())]
    content = {"methods": presets, "comparisons": comparisons, "components": components}
    print_result(options, content, lines)
