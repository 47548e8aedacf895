"""Rehearsals of `experts`, `distill` and `compare`: the stages of each, in a temporary folder that goes again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from omnidistill.core.device import resolve_device
from omnidistill.core.engines import Engine, engine_from
from omnidistill.core.errors import InputError
from omnidistill.core.memory import peak_memory
from omnidistill.core.streams import Streams
from omnidistill.data.datasets import Data, opened
from omnidistill.data.featureset import Development, FeatureSet
from omnidistill.evaluation.baselines import baselines
from omnidistill.evaluation.validation import validation_score
from omnidistill.experiments.comparison import Cell
from omnidistill.experiments.comparison.compare import base_config
from omnidistill.experiments.comparison.plan import BaselineCell, plan_baselines, plan_cells
from omnidistill.experiments.config import ComparisonConfig, MethodEntry, RunConfig, load_comparison, requested_config
from omnidistill.experiments.config.budgets import resolve_size
from omnidistill.experiments.dry_run.comparison_stages import cell_students, reference_stage
from omnidistill.experiments.dry_run.cost_estimate import Foreseen, Stage
from omnidistill.experiments.dry_run.method_stages import set_stages
from omnidistill.experiments.dry_run.parallel_estimate import Spread
from omnidistill.experiments.dry_run.search_estimate import TRIED_SECONDS
from omnidistill.experiments.dry_run.training_stages import Measured
from omnidistill.experiments.run import InitialHeads, given_heads, load_initial_set
from omnidistill.experiments.run.expert_stage import given_experts
from omnidistill.experiments.run.start_heads import GivenHeads
from omnidistill.io.tracking import Progress, SilentProgress
from omnidistill.models.heads import random_heads
from omnidistill.training.experts import pretrain_heads


def rehearse_experts(
    data: Data,
    *,
    heads: GivenHeads | None = None,
    engine: Engine | str = "local",
    device: str = "auto",
    progress: Progress | None = None,
    **settings: Any,
) -> Foreseen:
    """What `train_experts` will take, with the same arguments. Raises InputError for what it refuses at once."""
    config, chosen_device = requested_config(**settings), resolve_device(device)
    engine = engine_from(engine, str(chosen_device)) if isinstance(engine, str) else engine
    with _rehearsal(progress, 2) as (place, told):
        data = _opened(data, config, chosen_device)
        config.experts.objective.bind(data.modalities)
        spread = Spread.of(engine)
        measured, stages = _start(data, config, heads)
        told.advance(1)
        with peak_memory() as peak:
            stages += [*_opening(spread), *measured.experts(config, place, spread)]
            told.advance(1)
            memory = _with_path(peak(), measured, stages)
            return Foreseen(tuple(stages), len(measured.data.train), memory, spread.notes())


def rehearse_distill(
    data: Data,
    *,
    heads: GivenHeads | None = None,
    experts: Path | None = None,
    initial_set: Path | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    **settings: Any,
) -> Foreseen:
    """What `distill` will take, with the same arguments. Raises InputError for what it refuses at once."""
    usual_size = None if initial_set is None else load_initial_set(initial_set).size
    config = requested_config(**settings, usual_size=usual_size)
    with _rehearsal(progress, 2) as (place, told), peak_memory() as peak:
        data = _opened(data, config, resolve_device(device))
        config = resolve_size(config, data)
        _require_rows(data, config)
        if experts is not None and config.joint:
            given_experts(experts, data, config, given_heads(heads, data.widths))
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
    data: Data,
    methods: Sequence[str | MethodEntry] | str = (),
    *,
    preset: str | None = None,
    config: ComparisonConfig | Path | None = None,
    heads: GivenHeads | None = None,
    engine: Engine | str = "local",
    device: str = "auto",
    progress: Progress | None = None,
    **given: Any,
) -> Foreseen:
    """What `compare` will take in an empty folder, with the same arguments. Raises InputError for what it refuses.

    A method is rehearsed once for every size; other seeds take as long. Experts that methods share count once.
    """
    comparison, chosen_device = load_comparison(config, preset, methods, **given)[1], resolve_device(device)
    engine = engine_from(engine, str(chosen_device)) if isinstance(engine, str) else engine
    base = base_config(comparison)
    data = _opened(data, base, chosen_device)
    data.split("test")  # a missing one is told now
    cells = plan_cells(comparison, data)
    own = given_heads(heads, data.widths)
    shape = own if own else random_heads(data.widths, base.heads.width, Streams(0)["rehearsal"])
    references = plan_baselines(comparison, base.evaluate, cells, data, shape)
    spread = Spread.of(engine)
    distinct: dict[tuple[str, int, int | None], list[Cell]] = {}
    for cell in cells:
        distinct.setdefault((cell.method, cell.size, cell.budget), []).append(cell)
    with _rehearsal(progress, len(distinct) + len(references)) as (place, told), peak_memory() as peak:
        measured, first = _start(data, base, heads)
        first += _opening(spread)
        units = _Units()
        tests = (data.split_sizes["test"] / len(measured.data.validation)) ** 2  # scoring is by pairs of rows
        scoring = measured.score * tests
        for reference_cell in references:
            units.add_reference(reference_cell, reference_stage(measured, reference_cell, scoring))
            told.advance(1)
        for number, ((method, size, _), same) in enumerate(distinct.items()):
            made, wanted = [], []
            settings = same[0].config
            for part in [data.modalities] if settings.joint else combinations(data.modalities, 2):
                here, inner = _of(measured, part), place / f"{number}-{'~'.join(part)}"
                inner.mkdir()
                if settings.distill.uses_experts:
                    wanted.append(f"{part} {settings.experts.model_dump_json()}")
                    if wanted[-1] not in units.experts:
                        trained = here.experts(settings, inner)
                        units.experts[wanted[-1]] = [replace(each, name=f"{each.name} of {method}") for each in trained]
                made += [*set_stages(here, settings, inner, seconds=0.7), cell_students(here, settings, scoring)]
            units.add_cells(_together(f"{method}, {size} rows", made, len(same)), wanted)
            told.advance(1)
        stages = [*first, *units.stages()]
        elapsed = None if spread.here else sum(each.seconds for each in first) + units.seconds(spread)
        memory = _with_path(peak(), measured, stages)
        return Foreseen(tuple(stages), len(measured.data.train), memory, spread.notes(), elapsed)


@dataclass
class _Units:
    """What a comparison is made of, in the order in which engines are given it: experts, references, cells."""

    experts: dict[str, list[Stage]] = field(default_factory=dict)
    references: dict[str, Stage] = field(default_factory=dict)
    cells: list[tuple[Stage, list[str]]] = field(default_factory=list)
    after: dict[str, list[str]] = field(default_factory=dict)

    def add_reference(self, cell: BaselineCell, stage: Stage) -> None:
        """A line to read sets beside."""
        self.references[cell.folder] = stage
        needed = [BaselineCell(baselines.build(name), cell.evaluate, cell.seed).folder for name in cell.baseline.needs]
        self.after[cell.folder] = [name for name in needed if name in self.references]

    def add_cells(self, stage: Stage, experts: list[str]) -> None:
        """Cells of a method and size (the steps of the stage), and the experts that each reads."""
        self.cells.append((stage, experts))

    def stages(self) -> list[Stage]:
        """All, one after the other."""
        trained = [stage for stages in self.experts.values() for stage in stages]
        return [*trained, *self.references.values(), *(stage for stage, _ in self.cells)]

    def seconds(self, spread: Spread) -> float:
        """From begin to end, side by side; heads of equal bytes come after the run on all rows."""
        units = {key: sum(stage.seconds for stage in stages) for key, stages in self.experts.items()}
        units |= {name: stage.seconds for name, stage in self.references.items()}
        after = dict(self.after)
        for number, (stage, experts) in enumerate(self.cells):
            for turn in range(stage.steps):
                units[f"{number}/{turn}"] = stage.seconds / stage.steps
                after[f"{number}/{turn}"] = experts
        return spread.seconds(units, after)


def _opening(spread: Spread) -> list[Stage]:
    return [] if spread.here else [spread.stage()]


def _together(name: str, stages: list[Stage], count: int) -> Stage:
    """The same work, done so many times, as one line."""
    seconds, num_bytes = (count * sum(getattr(each, field) for each in stages) for field in ("seconds", "bytes"))
    return Stage(name, count, "sets", seconds, num_bytes)


def _opened(data: Data, config: RunConfig, device: torch.device) -> FeatureSet:
    """Return the data of a run on the device."""
    features = opened(data)
    return (features if config.modalities is None else features.only(config.modalities)).to(device)


def _start(data: FeatureSet, config: RunConfig, heads: GivenHeads | None) -> tuple[Measured, list[Stage]]:
    """What is measured, from heads of the width that they will have; and the stage that makes them."""
    if (given := given_heads(heads, data.widths)) is not None:
        measured = Measured.of(given.to(data), data.development())
        return measured, [Stage("heads", 0, "epochs", 0.0, measured.bytes)]
    start = InitialHeads(random_heads(data.widths, config.heads.width, Streams(0)["rehearsal"])).to(data)
    measured = Measured.of(start, data.development())
    stage = measured.pretraining(config)
    if stage.seconds < TRIED_SECONDS:  # then what follows begins where it will begin
        judge = partial(validation_score, validation=measured.data.validation)
        measured = replace(measured, start=pretrain_heads(measured.data, config.heads, judge, seed=config.seed)[0])
    return measured, [stage]


def _of(measured: Measured, modalities: tuple[str, ...]) -> Measured:
    """The same in some of the modalities."""
    if modalities == tuple(measured.start):
        return measured
    data = measured.data
    heads = None if data.heads is None else data.heads.only(modalities)
    part = Development(heads, data.train.only(modalities), data.validation.only(modalities))
    return Measured.of({name: measured.start[name] for name in modalities}, part)


def _require_rows(data: FeatureSet, config: RunConfig) -> None:
    rows, size = data.split_sizes.get("train", 0), config.distill.num_stored
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
