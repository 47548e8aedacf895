"""The command line: verbs only, no logic. Nothing heavy is imported before a verb needs it, so help is instant.

Exit codes: 0 done; 1 a part of a comparison failed, or out of memory; 2 bad input (one line says what, where, what to
do); 3 a computation became NaN or Inf; 130 interrupted (resumable).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from omnidistill.errors import InputError, OmnidistillError

if TYPE_CHECKING:
    from omnidistill.config import RunConfig

_DESCRIPTION = """Compress a paired multimodal data set into a few hundred synthetic instances
on which projection heads train almost as well as on all of it."""

_EXAMPLES = """examples:
  omnidistill demo                                     three minutes, real data, a page to look at
  omnidistill pack --features feats.npz --table rows.csv -o SET
  omnidistill distill SET --size 100 -o RUN            heads and experts are made when missing
  omnidistill evaluate RUN
SET is a folder made by 'pack', or the name 'emoji' for the bundled data."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.verb(options) or 0)
    except OmnidistillError as error:
        print(f"omnidistill: {' '.join(str(error).split())}", file=sys.stderr)  # one line, whatever a name holds
        return error.exit_code
    except KeyboardInterrupt:
        print("omnidistill: interrupted; what was finished is kept, repeat the command with --resume", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except MemoryError:
        print("omnidistill: out of memory; use fewer experts, a smaller width or fewer seeds", file=sys.stderr)
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"omnidistill: {where}{error.strerror or error}", file=sys.stderr)
        return 2


def _demo(options: argparse.Namespace) -> None:
    from omnidistill.demo import run_demo
    from omnidistill.report.tables import to_rich

    demo = run_demo(options.output, progress=_progress())
    _print_table(to_rich(demo.scores))
    print("\n".join(demo.own_gains))
    print(f"table  {demo.table}\npage   {demo.page}")


def _pack(options: argparse.Namespace) -> None:
    from omnidistill.features.pack import pack

    report = pack(
        options.features,
        options.table,
        options.output,
        id_column=options.id,
        group_column=options.group,
        split_column=options.split,
        standardise=not options.no_standardise,
        centre=not options.no_centre,
    )
    print("\n".join(report.lines()))
    print(f"next   omnidistill distill {options.output} --size 100 -o RUN")


def _heads(options: argparse.Namespace) -> None:
    from omnidistill.run import make_heads, open_data

    _require_absent(options.output)
    config = _config(options)
    make_heads(open_data(options.set, config), config, options.output, options.heads, _progress())
    print(
        f"heads  {options.output}\nnext   omnidistill distill {options.set} --heads {options.output} --size 100 -o RUN"
    )


def _experts(options: argparse.Namespace) -> None:
    from omnidistill.run import run_experts

    buffer = run_experts(options.set, _config(options), options.output, options.heads, _progress())
    runs = f"{buffer.num_experts} runs x {buffer.num_epochs} epochs"
    print(f"experts  {options.output} ({runs}, {buffer.seconds:.0f} s)")
    print(f"next     omnidistill distill {options.set} --experts {options.output} --size 100 -o RUN")


def _distill(options: argparse.Namespace) -> None:
    from omnidistill.run import run_distill

    run = run_distill(
        options.set,
        _config(options),
        options.output,
        heads=options.heads,
        experts=options.experts,
        resume=options.resume,
        command=_command(),
        progress=_progress(),
    )
    print("\n".join(_summary(run)))


def _evaluate(options: argparse.Namespace) -> None:
    from omnidistill.report.tables import to_rich
    from omnidistill.run import open_run
    from omnidistill.scoring import evaluate_run

    run = open_run(options.run)
    evaluated = evaluate_run(
        run, num_seeds=options.seeds, data_reference=options.data, command=_command(), progress=_progress()
    )
    if options.json:
        print(json.dumps(evaluated.scores, allow_nan=False))
        return
    _print_table(to_rich(evaluated.scores))
    print(f"scores {run.folder / 'scores.json'}, {run.folder / 'scores.csv'}\npage   {run.folder / 'report.html'}")


def _show_config(options: argparse.Namespace) -> None:
    from omnidistill.config import describe_fields

    if options.explain:
        for key, default, text in describe_fields():
            print(f"{key:42} {default:>16}  {text}" if default else f"\n{key}: {text}")
    else:
        print(_config(options).model_dump_json(indent=1))


def _compare(options: argparse.Namespace) -> int:
    from omnidistill.comparison import compare
    from omnidistill.config import load_comparison
    from omnidistill.report.comparison import to_rich

    name, comparison = load_comparison(
        options.config,
        options.preset,
        options.methods or (),
        sizes=options.sizes,
        seeds=options.seeds,
        num_students=options.students,
        layout=options.layout,
        settings=options.set_values,
    )
    compared = compare(
        options.set,
        comparison,
        options.output,
        name=name,
        heads=options.heads,
        resume=options.resume,
        command=_command(),
        progress=_progress(),
    )
    if options.json:
        print(json.dumps(compared.content, allow_nan=False))
    else:
        _print_table(to_rich(compared.content), width=100)
        print(f"table  {compared.table} (also .csv, .tex, .json)")
    for cell, error in compared.failures.items():
        print(f"omnidistill: {cell}: {error}", file=sys.stderr)
    return 1 if compared.failures else 0


def _presets(options: argparse.Namespace) -> None:
    from omnidistill.config import describe_comparisons, describe_presets

    presets, comparisons = describe_presets(), describe_comparisons()
    width = max(map(len, [*presets, *comparisons]))
    for title, known in (
        ("methods (--preset of distill, --methods of compare)", presets),
        ("comparisons (--preset of compare)", comparisons),
    ):
        print(f"{title}\n" + "\n".join(f"  {name:{width}}  {text}" for name, text in known.items()))


def _summary(run: Any) -> list[str]:
    from omnidistill.scoring import floor_of, matching_loss_of

    lines = []
    for part, distilled in zip(run.parts, run.sets(), strict=True):
        recipe = distilled.recipe
        steps = ", ".join(f"{size:.3g}" for size in recipe.step_sizes)
        lines.append(f"set      {part.folder / 'distilled'} ({distilled.size} rows, {distilled.bytes:,} bytes)")
        loss, floors = matching_loss_of(part.folder, distilled.modalities), floor_of(part.folder)
        if loss is not None:
            bound = f" (rank floor of {len(distilled)} rows: {sum(floors.values()):.3f})" if floors else ""
            lines.append(f"matching loss {loss:.3f}{bound}")
        lines.append(f"recipe   {recipe.num_steps} steps of {recipe.batch_size} rows, step sizes {steps}")
    return [*lines, f"next     omnidistill evaluate {run.folder}"]


def _config(options: argparse.Namespace) -> RunConfig:
    from omnidistill.config import load_config

    size = getattr(options, "size", None)
    fixed = {"distill__size": size, "seed": options.seed}
    return load_config(options.config, options.preset, options.set_values or (), **fixed)


def _progress() -> Any:
    from omnidistill.tracking import RichProgress

    return RichProgress()


def _print_table(table: Any, width: int = 0) -> None:
    from rich.console import Console

    Console(width=max(Console().width, width)).print(table)


def _command() -> str:
    return " ".join(["omnidistill", *sys.argv[1:]])


def _require_absent(path: Path) -> None:
    if (path / "manifest.json").exists():
        raise InputError(f"{path}: exists already; choose another folder or remove it")


class _Parser(argparse.ArgumentParser):
    """argparse, with errors in this program's manner: one line, exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"omnidistill: {message}; see '{self.prog} --help'\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="omnidistill",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    demo = _verb(verbs, "demo", _demo, "distil the bundled image-text-audio triplets and compare (about three minutes)")
    demo.add_argument("-o", "--output", type=Path, default=Path("demo-run"), metavar="DIR", help="default: demo-run")

    pack = _verb(verbs, "pack", _pack, "make a SET from feature files and a table of ids, groups and splits")
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

    heads = _verb(verbs, "heads", _heads, "pre-train projection heads on the 'heads' split, or import given ones")
    _add_set(heads, "HEADS")
    experts = _verb(
        verbs, "experts", _experts, "train expert trajectories into a buffer (continues an interrupted one)"
    )
    _add_set(experts, "BUFFER")

    distill = _verb(verbs, "distill", _distill, "learn a synthetic set; heads and experts are made when missing")
    _add_set(distill, "RUN")
    distill.add_argument("--size", type=int, metavar="N", help="synthetic rows (default: from the preset, 100)")
    distill.add_argument("--experts", type=Path, metavar="BUFFER", help="expert buffer made by 'experts'")
    distill.add_argument("--resume", action="store_true", help="continue the run in RUN to the same result")

    evaluate = _verb(
        verbs, "evaluate", _evaluate, "train on the set and score it beside every reference, test split once"
    )
    evaluate.add_argument("run", type=Path, metavar="RUN")
    evaluate.add_argument("--seeds", type=int, metavar="R", help="students a line (default: from the run, 10)")
    evaluate.add_argument("--data", metavar="SET", help="where the data are now, if they moved")
    evaluate.add_argument("--json", action="store_true", help="print one JSON object instead of the table")

    compare = _verb(verbs, "compare", _compare, "make and score a set for every method, size and seed; print the table")
    compare.add_argument("set", metavar="SET", help="a folder made by 'pack', or 'emoji'")
    compare.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="may hold several comparisons")
    compare.add_argument("--preset", metavar="NAME", help="a comparison that ships with the package: paper-table-1 ...")
    compare.add_argument("--config", type=Path, metavar="FILE.toml", help="a comparison of your own")
    compare.add_argument("--methods", type=_names, metavar="A,B", help="presets of methods, see 'omnidistill presets'")
    compare.add_argument("--sizes", type=_numbers, metavar="N,N", help="synthetic rows (default: 100)")
    compare.add_argument("--seeds", type=_numbers, metavar="S,S", help="one set is made with each (default: 0,1,2)")
    compare.add_argument("--students", type=int, metavar="R", help="students a set (default: 5)")
    compare.add_argument("--layout", metavar="NAME", help="retrieval, variants, cost or directions")
    compare.add_argument("--heads", type=Path, metavar="FILE", help="heads that every student starts from")
    compare.add_argument(
        "--set", dest="set_values", action="append", metavar="KEY=VALUE", help="for every method that has the setting"
    )
    compare.add_argument("--resume", action="store_true", help="go on in DIR, or add another comparison to it")
    compare.add_argument("--json", action="store_true", help="print one JSON object instead of the table")

    _verb(verbs, "presets", _presets, "list the settings that ship with the package: methods, published ones, ours")

    config = _verb(verbs, "config", _show_config, "print the settings in effect, or explain every setting")
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


def _verb(verbs: Any, name: str, action: Any, text: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
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
    parser.add_argument("--preset", metavar="NAME", help="settings that ship with the package (default: hopa)")
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
