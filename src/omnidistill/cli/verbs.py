"""What each verb does with its options: a call into the library, and what is printed. No logic."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnidistill.errors import InputError

if TYPE_CHECKING:
    from omnidistill.config import RunConfig


def demo(options: argparse.Namespace) -> None:
    """Run the demonstration; print its table and where the page is."""
    from omnidistill.demo import run_demo
    from omnidistill.report.tables import to_rich

    demo = run_demo(options.output, progress=_progress())
    _print_table(to_rich(demo.scores))
    print("\n".join(demo.own_gains))
    print(f"table  {demo.table}\npage   {demo.page}")


def pack(options: argparse.Namespace) -> None:
    """Make a set from feature files; print what was found."""
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


def heads(options: argparse.Namespace) -> None:
    """Pre-train or import heads."""
    from omnidistill.run import make_heads, open_data

    _require_absent(options.output)
    config = _config(options)
    make_heads(open_data(options.set, config), config, options.output, options.heads, _progress())
    print(
        f"heads  {options.output}\nnext   omnidistill distill {options.set} --heads {options.output} --size 100 -o RUN"
    )


def experts(options: argparse.Namespace) -> None:
    """Train (or go on training) an expert buffer."""
    from omnidistill.run import run_experts

    buffer = run_experts(options.set, _config(options), options.output, options.heads, _progress())
    runs = f"{buffer.num_experts} runs x {buffer.num_epochs} epochs"
    print(f"experts  {options.output} ({runs}, {buffer.seconds:.0f} s)")
    print(f"next     omnidistill distill {options.set} --experts {options.output} --size 100 -o RUN")


def distill(options: argparse.Namespace) -> None:
    """Make a synthetic set; print what it weighs and its recipe."""
    from omnidistill.run import run_distill

    run = run_distill(
        options.set,
        _sized_by_budget(options) if options.bytes is not None else _config(options),
        options.output,
        budget=options.bytes,
        heads=options.heads,
        experts=options.experts,
        begun=options.begun,
        resume=options.resume,
        command=_command(),
        progress=_progress(),
    )
    print("\n".join(_summary(run)))


def evaluate(options: argparse.Namespace) -> None:
    """Score a run beside its references; print the table, or the scores as JSON."""
    from omnidistill.report.tables import to_rich
    from omnidistill.run import open_run
    from omnidistill.scoring import evaluate_run

    run = open_run(options.run)
    evaluated = evaluate_run(
        run,
        num_seeds=options.seeds,
        data_reference=options.data,
        heads=options.heads,
        command=_command(),
        progress=_progress(),
    )
    place = evaluated.folder
    if options.json:
        print(json.dumps(evaluated.scores, allow_nan=False))
        return
    _print_table(to_rich(evaluated.scores))
    print(f"scores {place / 'scores.json'}, {place / 'scores.csv'}\npage   {place / 'report.html'}")


def show_config(options: argparse.Namespace) -> None:
    """Print the settings in effect, or what every setting means."""
    from omnidistill.config import describe_fields

    if options.explain:
        for key, default, text in describe_fields():
            print(f"{key:42} {default:>16}  {text}" if default else f"\n{key}: {text}")
    else:
        print(_config(options).model_dump_json(indent=1))


def compare(options: argparse.Namespace) -> int:
    """Make what is missing of a comparison; print its table. 1 where a method failed."""
    from omnidistill.comparison import compare
    from omnidistill.config import load_comparison
    from omnidistill.report.comparison import to_rich

    name, comparison = load_comparison(
        options.config,
        options.preset,
        options.methods or (),
        sizes=options.sizes,
        bytes=options.bytes,
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
        print(f"table  {compared.table} (also .csv, .tex, .json{', .svg' if compared.figure else ''})")
    for cell, error in compared.failures.items():
        print(f"omnidistill: {cell}: {error}", file=sys.stderr)
    return 1 if compared.failures else 0


def presets(options: argparse.Namespace) -> None:
    """List the presets and comparisons that ship with the package."""
    from omnidistill.config import describe_comparisons, describe_presets

    presets, comparisons = describe_presets(), describe_comparisons()
    width = max(map(len, [*presets, *comparisons]))
    for title, known in (
        ("methods (--preset of distill, --methods of compare)", presets),
        ("comparisons (--preset of compare)", comparisons),
    ):
        print(f"{title}\n" + "\n".join(f"  {name:{width}}  {text}" for name, text in known.items()))


def _summary(run: Any) -> list[str]:
    from omnidistill.budget import training_bytes
    from omnidistill.run import open_data
    from omnidistill.scoring import floor_of, matching_loss_of

    whole, total = training_bytes(open_data(run.data_reference, run.config)), 0
    lines = []
    for part, distilled in zip(run.parts, run.sets(), strict=True):
        recipe = distilled.recipe
        steps = ", ".join(f"{size:.3g}" for size in recipe.step_sizes)
        rows = f"{distilled.size} rows of {distilled.config.distill.storage.bits} bits"
        lines.append(f"set      {part.folder / 'distilled'} ({rows}, {_weight(distilled.bytes, whole)})")
        total += distilled.bytes
        loss, floors = matching_loss_of(part.folder, distilled.modalities), floor_of(part.folder)
        if loss is not None:
            bound = f" (rank floor of {len(distilled)} rows: {sum(floors.values()):.3f})" if floors else ""
            lines.append(f"matching loss {loss:.3f}{bound}")
        lines.append(f"recipe   {recipe.num_steps} steps of {recipe.batch_size} rows, step sizes {steps}")
        lines += [f"chosen   {name} = {why}" for name, why in distilled.provenance.get("choices", {}).items()]
        lines += [f"note     {line}" for line in distilled.provenance.get("notes", ())]
    if len(run.parts) > 1:
        lines.append(f"all      {len(run.parts)} sets, {_weight(total, whole)}")
    return [*lines, f"next     omnidistill evaluate {run.folder}"]


def _weight(num_bytes: int, whole: int) -> str:
    return f"{num_bytes:,} bytes, {100 * num_bytes / whole:.3g} % of the training features"


def _config(options: argparse.Namespace) -> RunConfig:
    from omnidistill.config import load_config

    size, begun = getattr(options, "size", None), getattr(options, "begun", None)
    if begun is not None and size is None and options.bytes is None:
        from omnidistill.run import load_begun

        size = load_begun(begun).size
    fixed = {"distill__size": size, "seed": options.seed}
    usual = None if options.config or not getattr(options, "bytes", None) else "compact"
    return load_config(options.config, options.preset or usual, options.set_values or (), **fixed)


def _sized_by_budget(options: argparse.Namespace) -> RunConfig:
    """The settings, for a budget to decide the size; one that the user gave as well would contradict it."""
    from omnidistill.config.files import read_file

    config = _config(options)
    named = [] if options.size is None else [f"--size {options.size}"]
    named += [f"--set {each}" for each in options.set_values or () if each.partition("=")[0].strip() == "distill.size"]
    if options.config is not None and "size" in read_file(options.config).get("distill", {}):
        named.append(f"distill.size of {options.config}")
    if named:
        raise InputError(f"--bytes {options.bytes} and {named[0]}: both decide how many rows there are; give one")
    return config


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
