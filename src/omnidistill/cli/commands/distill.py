"""The command `distill`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from omnidistill.cli.options import add_dry_run, add_json, add_set, add_trackers, config_of
from omnidistill.cli.output import print_result, progress, typed_command
from omnidistill.cli.parser import CommandGroup


def add(group: CommandGroup) -> None:
    """Add the command to a group."""
    parser = group.add_command(
        "distill",
        run,
        "learn a synthetic set; trains heads and experts if needed",
        main_options=("--size", "--bytes", "--preset", "--set", "--resume", "--dry-run"),
        examples=(
            "omnidistill distill emoji --size 30 -o RUN",
            "omnidistill distill SET --bytes 1% --heads HEADS -o RUN",
            "omnidistill distill SET --preset hopa --set distill.iterations=500 -o RUN --dry-run",
        ),
    )
    add_set(parser, "RUN")
    parser.add_argument(
        "--size", type=int, metavar="N", help="number of synthetic rows (default: from the preset, 100)"
    )
    parser.add_argument(
        "--bytes",
        metavar="B",
        help="size budget, filled with as many rows as fit, by default of 4 bits per number: 200000, 64kB, 1.5M, or "
        "1%% of the training features",
    )
    parser.add_argument("--experts", type=Path, metavar="BUFFER", help="expert buffer written by 'experts'")
    parser.add_argument(
        "--from", dest="initial_set", type=Path, metavar="RUN", help="start from the rows of an existing set"
    )
    parser.add_argument(
        "--resume", action="store_true", help="resume the run in RUN; the result is that of an uninterrupted run"
    )
    add_dry_run(parser)
    add_trackers(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Learn a synthetic set and print its size and recipe, or with `--dry-run` the estimated cost."""
    from omnidistill.experiments.run import run_distill

    config = config_of(options)
    if options.dry_run:
        from omnidistill.experiments.dry_run import rehearse_distill

        estimate = rehearse_distill(
            options.set,
            config,
            heads=options.heads,
            experts=options.experts,
            progress=progress(),
        )
        print_result(options, estimate.content(), estimate.lines())
        return
    run = run_distill(
        options.set,
        config,
        options.output,
        heads=options.heads,
        experts=options.experts,
        initial_set=options.initial_set,
        resume=options.resume,
        command=typed_command(),
        trackers=options.trackers,
        progress=progress(),
    )
    print_result(options, *_summary(run, config))


def _summary(run: Any, requested: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the JSON object and the lines that describe a finished run."""
    from omnidistill.distill.budget import training_bytes
    from omnidistill.experiments.run import open_data
    from omnidistill.experiments.run_page import floor_of, matching_loss_of

    full, total = training_bytes(open_data(run.data_reference, run.config)), 0
    lines, sets = [], []
    for part, distilled in zip(run.parts, run.sets(), strict=True):
        recipe, provenance = distilled.recipe, distilled.provenance
        rows = f"{distilled.size} rows of {distilled.spec.storage.title}"
        lines.append(f"set      {part.folder / 'distilled'} ({rows}, {_size(distilled.bytes, full)})")
        total += distilled.bytes
        loss, floors = matching_loss_of(part.folder, distilled.modalities), floor_of(part.folder)
        if loss is not None:
            bound = f" (rank floor of {len(distilled)} rows: {sum(floors.values()):.3f})" if floors else ""
            lines.append(f"matching loss {loss:.3f}{bound}")
        lines.append(f"recipe   {recipe.title}")
        lines += [f"chosen   {name} = {reason}" for name, reason in provenance.choices.items()]
        lines += [f"note     {line}" for line in provenance.notes]
        sets.append(
            {
                "path": str(part.folder / "distilled"),
                "modalities": list(distilled.modalities),
                "rows": distilled.size,
                "bytes": distilled.bytes,
                "matching_loss": loss,
                "rank_floor": floors,
                "recipe": recipe.model_dump(mode="json"),
                "validation": provenance.validation,
                "choices": dict(provenance.choices),
                "notes": list(provenance.notes),
            }
        )
    rank_notes = _rank_notes(requested, run.config)
    lines += [f"note     {line}" for line in rank_notes]
    if len(run.parts) > 1:
        lines.append(f"total    {len(run.parts)} sets, {_size(total, full)}")
    following = f"omnidistill evaluate {run.folder}"
    content = {
        "output": str(run.folder),
        "method": run.config.method,
        "sets": sets,
        "notes": rank_notes,
        "bytes": total,
        "training_bytes": full,
        "seconds": run.seconds(),
        "next": following,
    }
    return content, [*lines, f"next     {following}"]


def _rank_notes(requested: Any, actual: Any) -> list[str]:
    """Return a note if the budget holds fewer rows than the requested rank of the similarity matrix."""
    before, after = (
        getattr(getattr(config.distill, "similarity", None), "rank", None) for config in (requested, actual)
    )
    if after == before:
        return []
    return [f"distill.similarity.rank reduced from {before} to {after}, the number of rows that fit the budget"]


def _size(num_bytes: int, full: int) -> str:
    return f"{num_bytes:,} bytes, {100 * num_bytes / full:.3g} % of the training features"
