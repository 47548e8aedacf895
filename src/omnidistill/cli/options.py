"""Options that several commands share, and conversion of these options to function arguments."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`, with which a command prints its result as one JSON object."""
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def add_set(
    parser: argparse.ArgumentParser, output: str, required: bool = True, heads: str = "pre-trained projection heads"
) -> None:
    """Add the SET argument, `--output`, `--heads`, and the options that `add_settings` adds."""
    parser.add_argument(
        "set",
        nargs=None if required else "?",
        metavar="SET",
        help="dataset folder written by 'pack' or 'encode', or 'emoji' for the bundled dataset",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar=output, help="output folder")
    parser.add_argument(
        "--heads",
        type=Path,
        metavar="FILE|DIR",
        help=f"{heads}: a .safetensors file, or a folder written by 'omnidistill heads'",
    )
    add_settings(parser)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options that determine the settings of a run."""
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="built-in collection of settings (default: anchor); 'omnidistill presets' lists all",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="file with your settings; replaces --preset. Either a TOML file, or the JSON that 'omnidistill config' "
        "prints",
    )
    parser.add_argument(
        "--set",
        dest="set_values",
        action="append",
        metavar="KEY=VALUE",
        help="change one setting, for example heads.width=256; can be repeated",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed for all random numbers (default: 0)")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add `--device` to a command that trains, distils, encodes or evaluates."""
    parser.add_argument(
        "--device",
        default="auto",
        metavar="NAME",
        help="device to compute on: auto, cpu, cuda, cuda:1 or mps; auto (the default) is a CUDA GPU if PyTorch finds "
        "one, otherwise the CPU",
    )


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add `--dry-run` to a command that takes a long time."""
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="run a few steps to estimate the total steps, time, disk space and memory; save nothing",
    )


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add `--engine` to a command whose work can be distributed."""
    parser.add_argument(
        "--engine",
        default="local",
        metavar="local|ray[:ADDRESS]",
        help="where to run: local (this process, the default), ray (a new Ray cluster on this machine), or an existing "
        "Ray cluster: ray:auto, ray:HOST:PORT or ray://HOST:PORT. Every choice gives bit-identical results",
    )


def add_trackers(parser: argparse.ArgumentParser) -> None:
    """Add `--tracker`, which selects experiment trackers such as TensorBoard to log the metrics to."""
    parser.add_argument(
        "--tracker",
        dest="trackers",
        action="append",
        default=[],
        metavar="NAME",
        help="also log the metrics to tensorboard, wandb, trackio, mlflow or another tracker; can be repeated. The "
        "metrics stay on this machine unless you configure the tracker to send them (see docs/sharing.md)",
    )


def add_preprocessing(parser: argparse.ArgumentParser) -> None:
    """Add the options that disable preprocessing steps."""
    parser.add_argument(
        "--no-standardise", action="store_true", help="do not standardise each row to mean 0 and variance 1"
    )
    parser.add_argument(
        "--no-centre",
        action="store_true",
        help="do not centre: do not subtract the mean of the training rows from every row",
    )


def add_separator(parser: argparse.ArgumentParser, table: str) -> None:
    """Add `--separator`. The argument `table` is the word for the table in the help, such as "manifest"."""
    parser.add_argument(
        "--separator",
        metavar="CHAR",
        help=f"character between the columns of a .csv or .tsv {table} (default: detected: a comma, semicolon, tab or "
        "vertical bar)",
    )


def add_repetitions(parser: argparse.ArgumentParser) -> None:
    """Add `--seeds` and `--students` to a command that compares methods."""
    parser.add_argument(
        "--seeds",
        type=numbers,
        metavar="N,N",
        help="random seeds; every method creates one synthetic set per size and seed (default: 0,1,2)",
    )
    parser.add_argument(
        "--students",
        type=int,
        metavar="R",
        help="number of models (students) to train on each synthetic set (default: 5)",
    )


def add_columns(parser: argparse.ArgumentParser, row: str, column: str) -> None:
    """Add `--id`, `--group` and `--split`, which name the columns with the ids, groups and splits of the data.

    Args:
        parser: the parser of the command.
        row: what the help calls one element of the data, such as "row" or "item".
        column: what the help calls a column of the data, such as "table column".
    """
    splits = f"train, validation or test, or 'heads' for {row}s used only to pre-train projection heads"
    for name, content in (
        ("id", f"the unique id of every {row}"),
        ("group", f"the group of every {row}; {row}s of the same group are positives of each other"),
        ("split", f"the split of every {row}: {splits}"),
    ):
        parser.add_argument(
            f"--{name}", default=name, metavar="COLUMN", help=f"{column} with {content} (default: {name})"
        )


def add_force(parser: argparse.ArgumentParser, what: str) -> None:
    """Add `--force` to a command that refuses to replace existing output."""
    parser.add_argument("--force", action="store_true", help=f"replace {what}")


def add_manifest_output(parser: argparse.ArgumentParser, required: bool, more: str = "") -> None:
    """Add the options of commands that write a manifest (list of media items). `more` is added to the help of -o."""
    parser.add_argument(
        "--missing",
        choices=("drop", "fail"),
        default="drop",
        metavar="drop|fail",
        help="what to do if an item lacks a modality or has an unusable file: drop (the default) omits the item, fail "
        "stops with an error",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=required,
        metavar="FILE",
        help="output file (.csv, .jsonl or .parquet), in the folder of the media files or in one of its parent folders"
        + more,
    )
    add_force(parser, "an existing output file")


def names(text: str) -> list[str]:
    """Split a comma-separated list of names."""
    return [name.strip() for name in text.split(",") if name.strip()]


def numbers(text: str) -> list[int]:
    """Split a comma-separated list of whole numbers."""
    try:
        return [int(number) for number in names(text)]
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of whole numbers, such as 100,200") from None


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of a run as the keyword arguments `preset`, `config`, `settings` and `seed`."""
    return {
        "preset": options.preset,
        "config": options.config,
        "settings": options.set_values or (),
        "seed": options.seed,
    }


def set_of(text: str) -> str | Path:
    """Convert the SET argument to the name of a registered dataset or the path of a folder."""
    from omnidistill.data.datasets import datasets

    return text if text in datasets and not Path(text).exists() else Path(text)


def source_of(text: str) -> str | Path:
    """Convert a SOURCE argument to the name of a dataset on the Hugging Face Hub (hub:...) or a path."""
    return text if text.startswith("hub:") else Path(text)
