"""Options that several commands share, and the run settings that they determine."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omnidistill.core.errors import InputError

if TYPE_CHECKING:
    from omnidistill.experiments.config import RunConfig


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def add_set(parser: argparse.ArgumentParser, output: str) -> None:
    """Add SET, `--output`, `--heads` and the options of `add_settings`."""
    parser.add_argument("set", metavar="SET", help="folder written by 'pack' or 'encode', or 'emoji'")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar=output, help="folder to write")
    parser.add_argument(
        "--heads",
        type=Path,
        metavar="FILE|DIR",
        help="pre-trained heads: a .safetensors file or a folder written by 'heads'",
    )
    add_settings(parser)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options that determine the settings of a run."""
    parser.add_argument("--preset", metavar="NAME", help="settings included in the package (default: recommended)")
    parser.add_argument("--config", type=Path, metavar="FILE.toml", help="file with your own settings")
    parser.add_argument(
        "--set",
        dest="set_values",
        action="append",
        metavar="KEY=VALUE",
        help="change one setting, repeatable: --set distill.iterations=500",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed of all random streams (default: 0)")


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add `--dry-run` to a command that takes long."""
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="run a few steps; print an estimate of steps, minutes, bytes and memory; save nothing",
    )


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add `--engine` to a command whose work can be distributed."""
    parser.add_argument(
        "--engine",
        default="local",
        metavar="local|ray[:ADDRESS]",
        help="where the work runs: in this process (default), or as Ray tasks on this machine or at an address (auto, "
        "HOST:PORT, ray://HOST:PORT); the results are bit-identical",
    )


def add_trackers(parser: argparse.ArgumentParser) -> None:
    """Add `--tracker`."""
    parser.add_argument(
        "--tracker",
        dest="trackers",
        action="append",
        default=[],
        metavar="NAME",
        help="also log the metrics to tensorboard, wandb, trackio or another tracker, repeatable; they stay "
        "on this machine unless you configure the tracker otherwise (docs/sharing.md)",
    )


def add_preprocessing(parser: argparse.ArgumentParser) -> None:
    """Add the options that turn off the preprocessing of features."""
    parser.add_argument("--no-standardise", action="store_true", help="do not standardise each row")
    parser.add_argument("--no-centre", action="store_true", help="do not subtract the mean of the training rows")


def add_manifest_output(parser: argparse.ArgumentParser, required: bool) -> None:
    """Add the options of commands that write a manifest."""
    parser.add_argument(
        "--missing",
        choices=("drop", "fail"),
        default="drop",
        help="what to do with items that lack a modality or a usable file: leave them out (default), or fail",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=required,
        metavar="FILE",
        help=".csv, .jsonl or .parquet file to write, in the folder of the media files or above it",
    )


def names(text: str) -> list[str]:
    """Split a comma-separated list of names."""
    return [name.strip() for name in text.split(",") if name.strip()]


def numbers(text: str) -> list[int]:
    """Split a comma-separated list of whole numbers."""
    try:
        return [int(number) for number in names(text)]
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of whole numbers such as 100,200") from None


def config_of(options: argparse.Namespace) -> RunConfig:
    """Return the settings of `heads`, `experts`, `distill` and `config`; with `--bytes` the size is a budget.

    Raises:
        InputError: Two options determine the same setting.
    """
    from omnidistill.experiments.config import load_config

    size, initial_set, budget = (getattr(options, name, None) for name in ("size", "initial_set", "bytes"))
    of_file = [] if budget is None else _size_of_file(options.config)
    _require_one(options, "distill.size", {"--bytes": budget, "--size": size}, of_file)
    _require_one(options, "seed", {"--seed": options.seed})
    if budget is not None:
        size = budget
    elif initial_set is not None and size is None:
        from omnidistill.experiments.run import load_initial_set

        size = load_initial_set(initial_set).size
    usual = "compact" if budget is not None and not options.config else None
    fixed = {"distill__size": size, "seed": options.seed}
    return load_config(options.config, options.preset or usual, options.set_values or (), **fixed)


def _require_one(
    options: argparse.Namespace, key: str, flags: Mapping[str, object], others: Sequence[str] = ()
) -> None:
    """Raise InputError if a flag and another source, such as `--set`, determine the same setting."""
    from omnidistill.experiments.config import split_tables

    sources = [f"{flag} {value}" for flag, value in flags.items() if value is not None]
    if not sources:
        return
    sources += [f"--set {each}" for each in split_tables(options.set_values or ()) if each.partition("=")[0] == key]
    sources += others
    if len(sources) > 1:
        raise InputError(f"{sources[0]} and {sources[1]}: both set {key}; use only one")


def _size_of_file(path: Path | None) -> list[str]:
    """Return [`distill.size of FILE`] if the file itself sets it; the size of a preset that it extends is a default."""
    from omnidistill.experiments.config.toml_files import read_file

    section = {} if path is None else read_file(path).get("distill")
    return [f"distill.size of {path}"] if isinstance(section, dict) and "size" in section else []


def require_absent(path: Path) -> None:
    """Raise InputError if a folder already holds an artifact."""
    if (path / "manifest.json").exists():
        raise InputError(f"{path}: already exists; choose another folder or remove it")
