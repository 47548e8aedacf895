"""The crossed table of the `compare` command: the recall of every combination of set, recipe and model.

It is selected with `--preset crossed`, or with a TOML file that contains `kind = "crossed"`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from omnidistill.cli.options import names, set_of
from omnidistill.cli.output import print_saved_tables, progress, typed_command
from omnidistill.cli.parser import Parser
from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError

_ONLY_CROSSED = ("recipes", "models", "parts")
_NEVER_CROSSED = ("benchmark", "sizes", "bytes", "students", "metrics", "layout")


def add_crossed_options(parser: Parser) -> None:
    """Add the options that select parts of a crossed table, which combines sets, recipes and models."""
    parser.add_argument(
        "--recipes",
        type=names,
        metavar="A,B",
        help="with --preset crossed: comma-separated training recipes: own (the recipe stored in each set), sgd, "
        "anchor (linear heads by ridge regression), stacked (anchor's heads combined with the pre-trained heads) or "
        "map (networks that learn to reproduce anchor's heads); default: all",
    )
    parser.add_argument(
        "--models",
        type=names,
        metavar="A,B",
        help="with --preset crossed: comma-separated models to train: linear heads, such as seed-1 or width-64, or "
        "networks, such as mlp-2 with 2 layers. The name linear selects several kinds of linear heads, and the name "
        "mlp selects mlp-2 and mlp-3 (default: linear,mlp)",
    )
    parser.add_argument(
        "--parts",
        type=names,
        metavar="A,B",
        help="with --preset crossed: comma-separated parts to compute: table (recall of every combination of set, "
        "recipe and model), robustness (recall after changes to the set's own recipe, such as half the learning rate) "
        "or mismatch (recall of sets distilled from partly mismatched pairs); default: all",
    )


def is_crossed(options: argparse.Namespace) -> bool:
    """Return whether the options ask for a crossed table, which combines sets, recipes and models.

    Raises:
        InputError: an option does not apply to the comparison.
    """
    from omnidistill.experiments.config.toml_files import read_file
    from omnidistill.experiments.crossed.crossed_settings import NAME

    in_file = options.preset is None and options.config is not None and read_file(options.config).get("kind") == NAME
    crossed = options.preset == NAME or in_file
    given = _given(options, _NEVER_CROSSED if crossed else _ONLY_CROSSED)
    if given:
        problem = (
            "not supported for a crossed table (--preset crossed); omit it"
            if crossed
            else "applies only to a crossed table; add --preset crossed, or omit it"
        )
        raise InputError(f"{argument(given[0])}: {problem}")
    if crossed and (options.dry_run or options.engine != "local"):
        option = argument("dry_run", True) if options.dry_run else argument("engine")
        raise InputError(f"{option}: not supported for a crossed table (--preset crossed); omit it")
    if crossed and options.seeds is not None and len(options.seeds) != 1:
        raise InputError(
            f"{argument('seeds')}: a crossed table (--preset crossed) uses one random seed; pass one number"
        )
    return crossed


def run_crossed(options: argparse.Namespace) -> int:
    """Compute and print a crossed table: the recall for combinations of sets, training recipes and models.

    Results that are already stored are not computed again. Return 1 if a result could not be computed, otherwise 0.
    """
    from omnidistill.api import crossed

    result = crossed(
        set_of(options.set),
        sets=options.methods,
        recipes=options.recipes,
        models=options.models,
        parts=options.parts,
        settings=options.set_values or (),
        config=options.config,
        seed=None if options.seeds is None else options.seeds[0],
        heads=options.heads,
        folder=options.output,
        resume=options.resume,
        device=options.device,
        progress=progress(),
        command=typed_command(),
    )
    return print_saved_tables(options, result)


def _given(options: argparse.Namespace, names: Sequence[str]) -> list[str]:
    return [name for name in names if getattr(options, name) is not None]
