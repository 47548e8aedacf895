"""Options that several commands share, and their conversion to function arguments."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def add_set(parser: argparse.ArgumentParser, output: str) -> None:
    """Add SET, `--output`, `--heads` and the options of `add_settings`."""
    parser.add_argument(
        "set", metavar="SET", help="folder written by 'pack' or 'encode', or the name 'emoji' for the bundled data"
    )
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
        help="change one setting, such as distill.iterations=500; may be given more than once",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed of all random streams (default: 0)")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add `--device` to a command that trains, distils, encodes or evaluates."""
    parser.add_argument(
        "--device",
        default="auto",
        metavar="NAME",
        help="where to compute: auto (a GPU if torch finds one, the default), cpu, cuda, cuda:1, mps",
    )


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
        help="also log the metrics to tensorboard, wandb, trackio or another tracker; may be given more than "
        "once. The metrics stay on this machine unless you configure the tracker otherwise (docs/sharing.md)",
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


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments `preset`, `config`, `settings` and `seed` of the functions that take settings of a run."""
    return {
        "preset": options.preset,
        "config": options.config,
        "settings": options.set_values or (),
        "seed": options.seed,
    }


def set_of(text: str) -> str | Path:
    """Return SET as the functions take it: the name of a registered dataset, or the path of a folder."""
    from omnidistill.data.datasets import datasets

    return text if text in datasets and not Path(text).exists() else Path(text)
