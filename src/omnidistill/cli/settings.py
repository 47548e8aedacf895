"""Options that several verbs have, and the settings that they amount to."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnidistill.core.errors import InputError

if TYPE_CHECKING:
    from omnidistill.config import RunConfig


def add_verb(added: Any, name: str, action: Any, text: str, light: bool = False) -> argparse.ArgumentParser:
    """Add a verb that does `action` to the subparsers of the command line; a light one does without torch."""
    made: argparse.ArgumentParser = added.add_parser(name, help=text)
    made.set_defaults(verb=action, light=light)
    return made


def add_set(parser: argparse.ArgumentParser, output: str) -> None:
    """Add the data, where to write, heads to start from, and settings."""
    parser.add_argument("set", metavar="SET", help="a folder made by 'pack' or 'encode', or 'emoji'")
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
    """The settings of `heads`, `experts`, `distill` and `config`; where --bytes is given, its size is still open.

    Raises InputError for two options that decide the same setting.
    """
    from omnidistill.config import UNSIZED, load_config

    size, begun, budget = (getattr(options, name, None) for name in ("size", "begun", "bytes"))
    of_file = [] if budget is None else _size_of_file(options.config)
    _require_one(options, "distill.size", {"--bytes": budget, "--size": size}, of_file)
    _require_one(options, "seed", {"--seed": options.seed})
    if budget is not None:
        size = UNSIZED
    elif begun is not None and size is None:
        from omnidistill.experiments.run import load_begun

        size = load_begun(begun).size
    usual = "compact" if budget is not None and not options.config else None
    fixed = {"distill__size": size, "seed": options.seed}
    return load_config(options.config, options.preset or usual, options.set_values or (), **fixed)


def _require_one(
    options: argparse.Namespace, key: str, flags: Mapping[str, object], others: Sequence[str] = ()
) -> None:
    """Raise InputError where a flag and another, --set or something else decide the same setting."""
    from omnidistill.config import spelt_out

    named = [f"{flag} {value}" for flag, value in flags.items() if value is not None]
    if not named:
        return
    named += [f"--set {each}" for each in spelt_out(options.set_values or ()) if each.partition("=")[0] == key]
    named += others
    if len(named) > 1:
        raise InputError(f"{named[0]} and {named[1]}: both decide {key}; give one")


def _size_of_file(path: Path | None) -> list[str]:
    """`distill.size of FILE` where a file gives it; that of a preset it extends is a default."""
    from omnidistill.config.files import read_file

    section = {} if path is None else read_file(path).get("distill")
    return [f"distill.size of {path}"] if isinstance(section, dict) and "size" in section else []


def require_absent(path: Path) -> None:
    """Raise InputError for a folder that holds something."""
    if (path / "manifest.json").exists():
        raise InputError(f"{path}: exists already; choose another folder or remove it")
