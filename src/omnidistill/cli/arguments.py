"""Verbs and flags: what may be typed, and what help says of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from omnidistill.cli import verbs
from omnidistill.cli.encode_verb import add_encode_verb
from omnidistill.cli.media_verbs import add_media_verbs

_DESCRIPTION = """Compress a paired multimodal data set into a few hundred synthetic instances
on which projection heads train almost as well as on all of it."""

_EXAMPLES = """examples:
  omnidistill demo                                     four minutes, real data, a page to look at
  omnidistill pack --features feats.npz --table rows.csv -o SET
  omnidistill distill SET --size 100 -o RUN            heads and experts are made when missing
  omnidistill distill SET --bytes 1% -o RUN            as many rows as weigh 1 % of the training features
  omnidistill evaluate RUN
SET is a folder made by 'pack', or the name 'emoji' for the bundled data."""


class _Parser(argparse.ArgumentParser):
    """argparse, with errors in this program's manner: one line, exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"omnidistill: {message}; see '{self.prog} --help'\n")


def make_parser() -> argparse.ArgumentParser:
    """All verbs and their flags; each sets `verb` to what it does."""
    parser = _Parser(
        prog="omnidistill",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    added = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    demo = _verb(
        added, "demo", verbs.demo, "distil the bundled image-text-audio triplets and compare (about four minutes)"
    )
    demo.add_argument("-o", "--output", type=Path, default=Path("demo-run"), metavar="DIR", help="default: demo-run")

    pack = _verb(added, "pack", verbs.pack, "make a SET from feature files and a table of ids, groups and splits")
    pack.add_argument(
        "--features",
        type=Path,
        required=True,
        metavar="FILE|DIR",
        help=".npz, .safetensors or .parquet with one tensor per modality, or a folder of .npy/.safetensors files",
    )
    pack.add_argument("--table", type=Path, metavar="FILE", help=".jsonl, .csv or .parquet; row order = tensor order")
    for column in ("id", "group", "split"):
        pack.add_argument(
            f"--{column}", default=column, metavar="COLUMN", help=f"column of the {column} (default: {column})"
        )
    pack.add_argument(
        "--no-standardise", action="store_true", help="take rows as they are instead of standardising each"
    )
    pack.add_argument("--no-centre", action="store_true", help="do not subtract the mean of the training rows")
    pack.add_argument("-o", "--output", type=Path, required=True, metavar="SET")

    add_media_verbs(added)
    add_encode_verb(added)

    heads = _verb(added, "heads", verbs.heads, "pre-train projection heads on the 'heads' split, or import given ones")
    _add_set(heads, "HEADS")
    experts = _verb(
        added, "experts", verbs.experts, "train expert trajectories into a buffer (continues an interrupted one)"
    )
    _add_set(experts, "BUFFER")

    distill = _verb(added, "distill", verbs.distill, "learn a synthetic set; heads and experts are made when missing")
    _add_set(distill, "RUN")
    distill.add_argument("--size", type=int, metavar="N", help="synthetic rows (default: from the preset, 100)")
    distill.add_argument(
        "--bytes",
        metavar="B",
        help="as many rows (of 4 bits) as fit: 200000, 64kB, 1.5M, or 1%% of the training features",
    )
    distill.add_argument("--experts", type=Path, metavar="BUFFER", help="expert buffer made by 'experts'")
    distill.add_argument("--from", dest="begun", type=Path, metavar="RUN", help="go on from the rows of another set")
    distill.add_argument("--resume", action="store_true", help="continue the run in RUN to the same result")

    evaluate = _verb(
        added, "evaluate", verbs.evaluate, "train on the set and score it beside every reference, test split once"
    )
    evaluate.add_argument("run", type=Path, metavar="RUN")
    evaluate.add_argument("--seeds", type=int, metavar="R", help="students a line (default: from the run, 10)")
    evaluate.add_argument(
        "--heads", type=Path, metavar="FILE", help="heads to train on the set instead of those that it was made for"
    )
    evaluate.add_argument("--data", metavar="SET", help="where the data are now, if they moved")
    evaluate.add_argument("--json", action="store_true", help="print one JSON object instead of the table")

    compare = _verb(
        added, "compare", verbs.compare, "make and score a set for every method, size and seed; print the table"
    )
    compare.add_argument("set", metavar="SET", help="a folder made by 'pack', or 'emoji'")
    compare.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="may hold several comparisons")
    compare.add_argument("--preset", metavar="NAME", help="a comparison that ships with the package: paper-table-1 ...")
    compare.add_argument("--config", type=Path, metavar="FILE.toml", help="a comparison of your own")
    compare.add_argument("--methods", type=_names, metavar="A,B", help="presets of methods, see 'omnidistill presets'")
    compare.add_argument("--sizes", type=_numbers, metavar="N,N", help="synthetic rows (default: 100)")
    compare.add_argument(
        "--bytes", type=_names, metavar="B,B", help="budgets instead of sizes: 0.1%%,1%% or 20kB,200kB"
    )
    compare.add_argument("--seeds", type=_numbers, metavar="S,S", help="one set is made with each (default: 0,1,2)")
    compare.add_argument("--students", type=int, metavar="R", help="students a set (default: 5)")
    compare.add_argument("--layout", metavar="NAME", help="retrieval, variants, cost, directions or curve")
    compare.add_argument("--heads", type=Path, metavar="FILE", help="heads that every student starts from")
    compare.add_argument(
        "--set", dest="set_values", action="append", metavar="KEY=VALUE", help="for every method that has the setting"
    )
    compare.add_argument("--resume", action="store_true", help="go on in DIR, or add another comparison to it")
    compare.add_argument("--json", action="store_true", help="print one JSON object instead of the table")

    _verb(
        added, "presets", verbs.presets, "list the settings that ship with the package: methods, published ones, ours"
    )

    config = _verb(added, "config", verbs.show_config, "print the settings in effect, or explain every setting")
    _add_settings(config)
    config.add_argument("--explain", action="store_true", help="every setting with default, unit and reason")
    return parser


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in _names(text)]
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of whole numbers such as 100,200") from None


def _verb(added: Any, name: str, action: Any, text: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = added.add_parser(name, help=text, description=text, allow_abbrev=False)
    made.set_defaults(verb=action)
    return made


def _add_set(parser: argparse.ArgumentParser, output: str) -> None:
    parser.add_argument("set", metavar="SET", help="a folder made by 'pack', or 'emoji'")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar=output)
    parser.add_argument(
        "--heads", type=Path, metavar="FILE", help="pretrained heads: .safetensors or a folder made by 'heads'"
    )
    _add_settings(parser)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset", metavar="NAME", help="settings that ship with the package (default: what is recommended)"
    )
    parser.add_argument("--config", type=Path, metavar="RUN.toml", help="settings of your own")
    parser.add_argument(
        "--set",
        dest="set_values",
        action="append",
        metavar="KEY=VALUE",
        help="one setting, repeatable: --set distill.iterations=500",
    )
    parser.add_argument("--seed", type=int, help="seed of every random stream (default: 0)")


class _Version(argparse.Action):
    def __call__(self, *_: Any) -> None:
        from importlib.metadata import version

        print(f"omnidistill {version('omnidistill')}")
        raise SystemExit(0)
