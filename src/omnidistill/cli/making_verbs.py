"""The verbs `heads`, `experts` and `distill`: what may be typed, and what is printed. No logic."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from omnidistill.cli.encode_verb import add_engine
from omnidistill.cli.printing import add_json, command, folder_bytes, progress, tell
from omnidistill.cli.settings import (
    add_dry_run,
    add_set,
    add_trackers,
    add_verb,
    config_of,
    require_absent,
)


def add_making_verbs(added: Any) -> None:
    """Add the three verbs to the subparsers of the command line."""
    making = add_verb(added, "distill", distill, "learn a synthetic set; makes heads and experts when missing")
    add_set(making, "RUN")
    making.add_argument("--size", type=int, metavar="N", help="synthetic rows (default: from the preset, 100)")
    making.add_argument(
        "--bytes",
        metavar="B",
        help="as many rows (of 4 bits) as fit: 200000, 64kB, 1.5M, or 1%% of the training features",
    )
    making.add_argument("--experts", type=Path, metavar="BUFFER", help="expert buffer made by 'experts'")
    making.add_argument("--from", dest="begun", type=Path, metavar="RUN", help="go on from the rows of another set")
    making.add_argument("--resume", action="store_true", help="continue the run in RUN to the same result")
    add_dry_run(making)
    add_trackers(making)
    add_json(making)

    training = add_verb(added, "experts", experts, "train expert trajectories; goes on where it was interrupted")
    add_set(training, "BUFFER")
    add_dry_run(training)
    add_engine(training)
    add_trackers(training)
    add_json(training)

    starting = add_verb(added, "heads", heads, "pre-train projection heads, or import given ones")
    add_set(starting, "HEADS")
    add_json(starting)


def heads(options: argparse.Namespace) -> None:
    """Pre-train or import heads; print where they are and what they fit."""
    from omnidistill.experiments.run import make_heads, open_data
    from omnidistill.models.heads import load_heads

    require_absent(options.output)
    config = config_of(options)
    data = open_data(options.set, config)
    made = make_heads(data, config, options.output, options.heads, progress())
    meta = load_heads(options.output, data.widths)[1]
    width = next(iter(made.values())).shape[0]
    following = f"omnidistill distill {options.set} --heads {options.output} --size 100 -o RUN"
    content = {"output": str(options.output), "width": width, "inputs": data.widths, **_origin(meta), "next": following}
    inputs = ", ".join(f"{name} {width_in}" for name, width_in in data.widths.items())
    lines = [
        f"heads  {options.output} ({inputs} -> {width})",
        f"origin {', epoch '.join(str(each) for each in _origin(meta).values())}",
        f"next   {following}",
    ]
    tell(options, content, lines)


def experts(options: argparse.Namespace) -> None:
    """Train (or go on training) an expert buffer; or say what it would take."""
    from omnidistill.core.engines import engine_from
    from omnidistill.experiments.run import run_experts

    config = config_of(options)
    if options.dry_run:
        from omnidistill.experiments.dry_run import rehearse_experts

        foreseen = rehearse_experts(options.set, config, options.heads, progress(), engine_from(options.engine))
        tell(options, foreseen.content(), foreseen.lines())
        return
    with engine_from(options.engine) as engine:
        buffer = run_experts(options.set, config, options.output, options.heads, progress(), options.trackers, engine)
    num_bytes, following = folder_bytes(options.output), _with_experts(options)
    content = {
        "output": str(options.output),
        "experts": buffer.num_experts,
        "epochs": buffer.num_epochs,
        "seconds": buffer.seconds,
        "bytes": num_bytes,
        "next": following,
    }
    runs = f"{buffer.num_experts} runs x {buffer.num_epochs} epochs"
    lines = [
        f"experts  {options.output} ({runs}, {buffer.seconds:.0f} s, {num_bytes:,} bytes)",
        f"next     {following}",
    ]
    tell(options, content, lines)


def distill(options: argparse.Namespace) -> None:
    """Make a synthetic set; print what it weighs and its recipe; or say what it would take."""
    from omnidistill.experiments.run import run_distill

    config = config_of(options)
    if options.dry_run:
        from omnidistill.experiments.dry_run import rehearse_distill

        foreseen = rehearse_distill(
            options.set,
            config,
            budget=options.bytes,
            heads=options.heads,
            experts=options.experts,
            progress=progress(),
        )
        tell(options, foreseen.content(), foreseen.lines())
        return
    run = run_distill(
        options.set,
        config,
        options.output,
        budget=options.bytes,
        heads=options.heads,
        experts=options.experts,
        begun=options.begun,
        resume=options.resume,
        command=command(),
        trackers=options.trackers,
        progress=progress(),
    )
    tell(options, *_summary(run, config))


def _summary(run: Any, asked: Any) -> tuple[dict[str, Any], list[str]]:
    from dataclasses import asdict

    from omnidistill.distill.budget import training_bytes
    from omnidistill.experiments.run import open_data
    from omnidistill.experiments.run_page import floor_of, matching_loss_of

    whole, total = training_bytes(open_data(run.data_reference, run.config)), 0
    lines, sets = [], []
    for part, distilled in zip(run.parts, run.sets(), strict=True):
        recipe, found = distilled.recipe, distilled.provenance
        steps = ", ".join(f"{size:.3g}" for size in recipe.step_sizes)
        rows = f"{distilled.size} rows of {distilled.config.distill.storage.bits} bits"
        lines.append(f"set      {part.folder / 'distilled'} ({rows}, {_weight(distilled.bytes, whole)})")
        total += distilled.bytes
        loss, floors = matching_loss_of(part.folder, distilled.modalities), floor_of(part.folder)
        if loss is not None:
            bound = f" (rank floor of {len(distilled)} rows: {sum(floors.values()):.3f})" if floors else ""
            lines.append(f"matching loss {loss:.3f}{bound}")
        lines.append(f"recipe   {recipe.num_steps} steps of {recipe.batch_size} rows, step sizes {steps}")
        lines += [f"chosen   {name} = {why}" for name, why in found.get("choices", {}).items()]
        lines += [f"note     {line}" for line in found.get("notes", ())]
        sets.append(
            {
                "path": str(part.folder / "distilled"),
                "modalities": list(distilled.modalities),
                "rows": distilled.size,
                "bytes": distilled.bytes,
                "matching_loss": loss,
                "rank_floor": floors,
                "recipe": asdict(recipe),
                "validation": found.get("validation"),
                "choices": found.get("choices", {}),
                "notes": list(found.get("notes", ())),
            }
        )
    lowered = _lowered(asked, run.config)
    lines += [f"note     {line}" for line in lowered]
    if len(run.parts) > 1:
        lines.append(f"all      {len(run.parts)} sets, {_weight(total, whole)}")
    following = f"omnidistill evaluate {run.folder}"
    content = {
        "output": str(run.folder),
        "method": run.config.method,
        "sets": sets,
        "notes": lowered,
        "bytes": total,
        "training_bytes": whole,
        "seconds": run.seconds(),
        "next": following,
    }
    return content, [*lines, f"next     {following}"]


def _lowered(asked: Any, made: Any) -> list[str]:
    """The rank of S, where a budget holds fewer rows than it."""
    before, after = (getattr(config.distill.similarity, "rank", None) for config in (asked, made))
    if after == before:
        return []
    return [f"distill.similarity.rank = {after} instead of {before}: the budget holds no more rows"]


def _weight(num_bytes: int, whole: int) -> str:
    return f"{num_bytes:,} bytes, {100 * num_bytes / whole:.3g} % of the training features"


def _origin(meta: dict[str, Any]) -> dict[str, Any]:
    """Where heads come from, and the epoch where they were trained here."""
    trained = "epoch" in meta and meta["origin"] != "random"
    return {"origin": meta["origin"], **({"epoch": meta["epoch"]} if trained else {})}


def _with_experts(options: argparse.Namespace) -> str:
    return f"omnidistill distill {options.set} --experts {options.output} --size 100 -o RUN"
