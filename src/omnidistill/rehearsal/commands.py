"""Rehearsals of `experts`, `distill` and `compare`: the stages of each, in a temporary folder that goes again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

from omnidistill.budget import with_budget
from omnidistill.comparison import Cell
from omnidistill.comparison.plan import plan_cells, plan_references
from omnidistill.config import SHARED, ComparisonConfig, RunConfig, load_config
from omnidistill.errors import InputError
from omnidistill.features.featureset import Development, FeatureSet
from omnidistill.heads import Heads, load_heads, random_heads
from omnidistill.memory import peak_memory
from omnidistill.objectives import objective_from
from omnidistill.randomness import Streams
from omnidistill.rehearsal.comparing import cell_students, reference_stage
from omnidistill.rehearsal.foreseen import Foreseen, Stage
from omnidistill.rehearsal.making import set_stages
from omnidistill.rehearsal.training import Measured
from omnidistill.run import open_data
from omnidistill.run.stages import given_experts
from omnidistill.tracking import Progress, SilentProgress


def rehearse_experts(
    reference: str, config: RunConfig, heads: Path | None = None, progress: Progress | None = None
) -> Foreseen:
    """What `run_experts` will take. Raises InputError for what it refuses before it begins."""
    with _rehearsal(progress, 2) as (place, told):
        data = open_data(reference, config)
        objective_from(config.experts.objective, data.modalities)
        measured, stages = _start(data, config, heads)
        told.advance(1)
        with peak_memory() as peak:
            stages += measured.experts(config, place)
            told.advance(1)
            return Foreseen(tuple(stages), len(measured.data.train), _with_path(peak(), measured, stages))


def rehearse_distill(
    reference: str,
    config: RunConfig,
    *,
    budget: str | None = None,
    heads: Path | None = None,
    experts: Path | None = None,
    progress: Progress | None = None,
) -> Foreseen:
    """What `run_distill` will take. Raises InputError for what it refuses before it begins."""
    with _rehearsal(progress, 2) as (place, told), peak_memory() as peak:
        data = open_data(reference, config)
        if budget is not None:
            config = with_budget(config, budget, data)
        _require_rows(data, config)
        if experts is not None and config.joint:
            given_experts(experts, data, config, heads)
        measured, stages = _start(data, config, heads)
        if heads is None and experts is not None:
            stages = []  # those of the experts
        told.advance(1)
        parts = [data.modalities] if config.joint else list(combinations(data.modalities, 2))
        for part in parts:
            here, inner = _of(measured, part), place / "~".join(part)
            inner.mkdir()
            made = here.experts(config, inner) if config.distill.uses_experts and experts is None else []
            made += set_stages(here, config, inner)
            stages += made if config.joint else [replace(each, name=f"{each.name} {'~'.join(part)}") for each in made]
        told.advance(1)
        return Foreseen(tuple(stages), len(measured.data.train), _with_path(peak(), measured, stages))


def rehearse_comparison(
    reference: str, comparison: ComparisonConfig, heads: Path | None = None, progress: Progress | None = None
) -> Foreseen:
    """What `compare` will take, in an empty folder. Raises InputError for what it refuses before it begins.

    A method is rehearsed once for every size; other seeds take as long. Experts that methods share count once.
    """
    shared = [each for each in comparison.settings if each.strip().startswith(SHARED)]
    base = load_config(
        preset="hopa", overrides=shared, seed=min(comparison.seeds), evaluate__num_seeds=comparison.num_students
    )
    data = open_data(reference, base)
    data.split("test")  # a missing one is told now
    cells, references = plan_cells(comparison, data), plan_references(comparison, base.evaluate, data)
    distinct: dict[tuple[str, int, int | None], list[Cell]] = {}
    for cell in cells:
        distinct.setdefault((cell.method, cell.size, cell.budget), []).append(cell)
    with _rehearsal(progress, len(distinct) + len(references)) as (place, told), peak_memory() as peak:
        measured, stages = _start(data, base, heads)
        tests = (data.split_sizes["test"] / len(measured.data.validation)) ** 2  # scoring is by pairs of rows
        scoring = measured.score * tests
        for reference_cell in references:
            stages.append(reference_stage(measured, reference_cell, scoring))
            told.advance(1)
        known: set[str] = set()
        for number, ((method, size, _), same) in enumerate(distinct.items()):
            made = []
            config = same[0].config
            for part in [data.modalities] if config.joint else combinations(data.modalities, 2):
                here, inner = _of(measured, part), place / f"{number}-{'~'.join(part)}"
                inner.mkdir()
                key = f"{part} {config.experts.model_dump_json()}"
                if config.distill.uses_experts and key not in known:
                    known.add(key)
                    stages += [replace(each, name=f"{each.name} of {method}") for each in here.experts(config, inner)]
                made += [*set_stages(here, config, inner, seconds=0.7), cell_students(here, config, scoring)]
            stages.append(_together(f"{method}, {size} rows", made, len(same)))
            told.advance(1)
        return Foreseen(tuple(stages), len(measured.data.train), _with_path(peak(), measured, stages))


def _together(name: str, stages: list[Stage], count: int) -> Stage:
    """The same work, done so many times, as one line."""
    seconds, num_bytes = (count * sum(getattr(each, field) for each in stages) for field in ("seconds", "bytes"))
    return Stage(name, count, "sets", seconds, num_bytes)


def _start(data: FeatureSet, config: RunConfig, heads: Path | None) -> tuple[Measured, list[Stage]]:
    """What is measured, from heads of the width that they will have; and the stage that makes them."""
    start: Heads
    if heads is not None:
        start = load_heads(heads, data.widths)[0]
        return (measured := Measured.of(start, data.development())), [Stage("heads", 0, "epochs", 0.0, measured.bytes)]
    start = random_heads(data.widths, config.heads.width, Streams(0)["rehearsal"])
    measured = Measured.of(start, data.development())
    return measured, [measured.pretraining(config)]


def _of(measured: Measured, modalities: tuple[str, ...]) -> Measured:
    """The same in some of the modalities."""
    if modalities == tuple(measured.start):
        return measured
    data = measured.data
    heads = None if data.heads is None else data.heads.only(modalities)
    part = Development(heads, data.train.only(modalities), data.validation.only(modalities))
    return Measured.of({name: measured.start[name] for name in modalities}, part)


def _require_rows(data: FeatureSet, config: RunConfig) -> None:
    rows, size = data.split_sizes.get("train", 0), config.distill.size
    if size > rows:
        raise InputError(f"distill.size = {size} exceeds the {rows} training rows; use at most {rows}")


def _with_path(peak: int | None, measured: Measured, stages: list[Stage]) -> int | None:
    """The peak, with the snapshots of one expert that the squared distances are taken of."""
    epochs = [stage.steps for stage in stages if stage.unit.startswith("epochs of")]
    return None if peak is None else peak + max((measured.bytes * (count + 1) for count in epochs), default=0)


@contextmanager
def _rehearsal(progress: Progress | None, total: int) -> Iterator[tuple[Path, Progress]]:
    progress = progress or SilentProgress()
    with TemporaryDirectory(prefix="omnidistill-") as place, progress:
        progress.start(total, "rehearse")
        yield Path(place), progress
