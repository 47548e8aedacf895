"""A comparison as units that processes make side by side: experts first, then what is read from them.

Cells with the same experts would all train them at once; so each buffer is a unit, and the cells that read it wait for
it. Heads of equal bytes wait for the run on all rows, whose heads they are cut from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

from omnidistill.data.datasets import open_reference
from omnidistill.data.featureset import FeatureSet
from omnidistill.experiments.comparison.cells import Place, fit_baseline, make_cell
from omnidistill.experiments.comparison.plan import AnyCell, BaselineCell, Cell
from omnidistill.experiments.comparison.result_store import FolderStore
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.run import make_experts, make_heads
from omnidistill.io.tracking import SilentProgress
from omnidistill.training.experts import ExpertsConfig


@dataclass(frozen=True)
class SharedExperts:
    """A buffer that cells read. config: of the run (of a pair) that would train it if it came first."""

    config: RunConfig
    modalities: tuple[str, ...]
    folder: Path


AnyUnit = AnyCell | SharedExperts


@dataclass(frozen=True)
class Making:
    """Makes one unit; the task of an engine. Data and heads are opened once per process.

    Attributes:
        data: the data, or the name or folder from which another process opens them.
        modalities: those of the comparison.
        base: the settings that all cells have in common.
        folder: folder of the comparison.
        command: command line, recorded in runs.
        device: device of the computation.
    """

    data: FeatureSet | str
    modalities: tuple[str, ...]
    base: RunConfig
    folder: Path
    command: str
    device: str

    @cached_property
    def place(self) -> Place:
        """The same inputs as in the process that started the comparison."""
        data = open_reference(self.data) if isinstance(self.data, str) else self.data
        data = data.only(self.modalities).to(self.device)
        start = make_heads(data, self.base, self.folder / "heads")
        return Place(data, start, FolderStore(self.folder), start.meta)

    def __call__(self, unit: AnyUnit) -> None:
        """Make it. Raises whatever a method does wrong."""
        match unit:
            case Cell():
                make_cell(self.place, unit, self.command, SilentProgress())
            case BaselineCell():
                fit_baseline(self.place, unit)
            case SharedExperts():
                data, start = self.place.data.only(unit.modalities), self.place.start
                make_experts(data, {name: start[name] for name in unit.modalities}, unit.config, unit.folder)


def plan_units(
    place: Place, store: FolderStore, cells: Sequence[AnyCell]
) -> tuple[list[AnyUnit], dict[int, list[int]]]:
    """The units of these cells, and what waits for what: {number of a unit: numbers of earlier ones}."""
    shared: dict[Key, SharedExperts] = {}
    wanted: dict[AnyCell, list[Key]] = {}
    for cell in cells:
        for part, config in _runs(place, cell):
            key = (part, config.experts)
            shared.setdefault(key, _experts(place, store, part, config))
            wanted.setdefault(cell, []).append(key)
    numbers = {key: number for number, key in enumerate(shared)}
    units: list[AnyUnit] = [*shared.values(), *cells]
    fitted = {unit.baseline.kind: number for number, unit in enumerate(units) if isinstance(unit, BaselineCell)}
    after = {}
    for number, cell in enumerate(cells, start=len(shared)):
        needs = cell.baseline.needs if isinstance(cell, BaselineCell) else ()
        after[number] = [fitted[name] for name in needs if name in fitted]
        after[number] += [numbers[key] for key in wanted.get(cell, ())]
    return units, after


Key = tuple[tuple[str, ...], ExpertsConfig]


def _runs(place: Place, cell: AnyCell) -> Iterator[tuple[tuple[str, ...], RunConfig]]:
    """(modalities, settings) of every run of a cell that reads experts: one, or one of every pair."""
    if not isinstance(cell, Cell) or not cell.config.distill.uses_experts:
        return
    if cell.config.joint:
        yield place.data.modalities, cell.config
        return
    for pair in combinations(place.data.modalities, 2):
        yield pair, cell.config.evolve(modalities=pair, joint=True)


def _experts(place: Place, store: FolderStore, part: tuple[str, ...], config: RunConfig) -> SharedExperts:
    folder = store.experts_folder(place.data.only(part), {name: place.start[name] for name in part}, config)
    return SharedExperts(config, part, folder)
