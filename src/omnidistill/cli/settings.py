"""Options that several verbs have, and the settings that they amount to."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnidistill.errors import InputError

if TYPE_CHECKING:
    from omnidistill.config import RunConfig


def add_verb(added: Any, name: str, action: Any, text: str) -> argparse.ArgumentParser:
    """Add a verb that does `action` to the subparsers of the command line."""
    made: argparse.ArgumentParser = added.add_parser(name, help=text)
    made.set_defaults(verb=action)
    return made


def add_set(parser: argparse.ArgumentParser, output: str) -> None:
    """Add the data, where to write, heads to start from, and settings."""
    parser.add_argument("set", metavar="SET", help="a folder made by 'pack', or 'emoji'")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar=output, help="the folder to write")
    parser.add_argument(
        "--heads", type=Path, metavar="FILE|DIR", help="pretrained heads: .safetensors or a folder made by 'heads'"
    )
    add_settings(parser)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add what decides the settings of a run."""
    parser.add_argument(
        "--preset", metavar="NAME", help="settings that ship with the package (default: what is recommended)"
    )
    parser.add_argument("--config", type=Path, metavar="FILE.toml", help="settings of your own")
    parser.add_argument(
        "--set",
        dest="set_values",
        action="append",
        metavar="KEY=VALUE",
        help="one setting, repeatable: --set distill.iterations=500",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed of every random stream (default: 0)")


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add `--dry-run` to a verb that takes long."""
    parser.add_argument(
        "--dry-run", action="store_true", help="try a few steps; print steps, minutes, bytes and memory; keep nothing"
    )


def add_trackers(parser: argparse.ArgumentParser) -> None:
    """Add the views of a log."""
    parser.add_argument(
        "--tracker",
        dest="trackers",
        action="append",
        default=[],
        choices=("tensorboard", "wandb", "trackio"),
        metavar="NAME",
        help="show the metrics there as well, repeatable: tensorboard, wandb or trackio; on this machine unless you "
        "say otherwise (docs/sharing.md)",
    )


def config_of(options: argparse.Namespace) -> RunConfig:
    """The settings of `heads`, `experts`, `distill` and `config`."""
    from omnidistill.config import load_config

    size, begun = getattr(options, "size", None), getattr(options, "begun", None)
    if begun is not None and size is None and options.bytes is None:
        from omnidistill.run import load_begun

        size = load_begun(begun).size
    fixed = {"distill__size": size, "seed": options.seed}
    usual = None if options.config or not getattr(options, "bytes", None) else "compact"
    return load_config(options.config, options.preset or usual, options.set_values or (), **fixed)


def config_of_set(options: argparse.Namespace) -> RunConfig:
    """The settings of `distill`; where a budget decides the size, one that the user gave as well would contradict it.

    Raises InputError for both.
    """
    from omnidistill.config.files import read_file

    config = config_of(options)
    if options.bytes is None:
        return config
    named = [] if options.size is None else [f"--size {options.size}"]
    named += [f"--set {each}" for each in options.set_values or () if each.partition("=")[0].strip() == "distill.size"]
    if options.config is not None and "size" in read_file(options.config).get("distill", {}):
        named.append(f"distill.size of {options.config}")
    if named:
        raise InputError(f"--bytes {options.bytes} and {named[0]}: both decide how many rows there are; give one")
    return config


def require_absent(path: Path) -> None:
    """Raise InputError for a folder that holds something."""
    if (path / "manifest.json").exists():
        raise InputError(f"{path}: exists already; choose another folder or remove it")
