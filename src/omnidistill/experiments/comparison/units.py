"""Split a comparison into units of work that several processes can run in parallel.

A *cell* is one method with one size and one seed. Each cell and each baseline is a unit. If several cells need the same
experts, a separate unit trains these experts, and the cells wait for that unit. Otherwise each process would train the
experts again. Some baselines are computed from others and wait for them. For example, `equal-bytes` truncates the heads
of `full`, and `best` is the best of several baselines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

from omnidistill.data.datasets import open_reference
from omnidistill.data.featureset import FeatureSet
from omnidistill.experiments.comparison.cells import ComparisonContext, fit_baseline, run_cell
from omnidistill.experiments.comparison.plan import AnyCell, BaselineCell, Cell
from omnidistill.experiments.comparison.result_store import FolderStore
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.run import load_or_create_heads, load_or_train_experts
from omnidistill.io.tracking import SilentProgress
from omnidistill.training.experts import ExpertsConfig


@dataclass(frozen=True)
class SharedExperts:
    """A unit of work that trains experts. Several runs of a comparison share these experts.

    Attributes:
        config: settings of a run (possibly for one pair of modalities) that uses the experts.
        modalities: modalities of the experts.
        folder: folder of the expert buffer.
    """

    config: RunConfig
    modalities: tuple[str, ...]
    folder: Path


AnyUnit = AnyCell | SharedExperts


@dataclass(frozen=True)
class UnitRunner:
    """Computes one unit of work of a comparison when an engine calls it.

    A unit is a cell (one method, size and seed), a baseline, or the training of shared experts. The data and the heads
    are loaded only once per process.

    Attributes:
        data: the data, or the name or folder from which another process loads them.
        modalities: modalities of the comparison.
        base: settings that all cells share.
        folder: folder of the comparison.
        command: command line, recorded in the runs.
        device: device of the computation.
    """

    data: FeatureSet | str
    modalities: tuple[str, ...]
    base: RunConfig
    folder: Path
    command: str
    device: str

    @cached_property
    def context(self) -> ComparisonContext:
        """Data, initial heads and stored results of the comparison. They are loaded on first use."""
        data = open_reference(self.data) if isinstance(self.data, str) else self.data
        data = data.only(self.modalities).to(self.device)
        start = load_or_create_heads(data, self.base, self.folder / "heads")
        return ComparisonContext(data, start, FolderStore(self.folder), start.meta)

    def __call__(self, unit: AnyUnit) -> None:
        """Compute one unit: a cell (method, size and seed), a baseline or shared experts. Exceptions are not caught."""
        match unit:
            case Cell():
                run_cell(self.context, unit, self.command, SilentProgress())
            case BaselineCell():
                fit_baseline(self.context, unit)
            case SharedExperts():
                data, start = self.context.data.only(unit.modalities), self.context.start
                load_or_train_experts(data, {name: start[name] for name in unit.modalities}, unit.config, unit.folder)


def plan_units(
    context: ComparisonContext, store: FolderStore, cells: Sequence[AnyCell]
) -> tuple[list[AnyUnit], dict[int, list[int]]]:
    """Return the units of work for these cells and, for each unit, the units that must finish before it starts.

    The `cells` may include baselines. Units are identified by their position in the list.
    """
    shared: dict[Key, SharedExperts] = {}
    experts_of: dict[AnyCell, list[Key]] = {}
    for cell in cells:
        for part, config in _runs(context, cell):
            key = (part, config.experts)
            shared.setdefault(key, _experts(context, store, part, config))
            experts_of.setdefault(cell, []).append(key)
    numbers = {key: number for number, key in enumerate(shared)}
    units: list[AnyUnit] = [*shared.values(), *cells]
    fitted = {unit.folder: number for number, unit in enumerate(units) if isinstance(unit, BaselineCell)}
    after = {}
    for number, cell in enumerate(cells, start=len(shared)):
        needs = [needed.folder for needed in cell.needed] if isinstance(cell, BaselineCell) else []
        after[number] = [fitted[folder] for folder in needs if folder in fitted]
        after[number] += [numbers[key] for key in experts_of.get(cell, ())]
    return units, after


Key = tuple[tuple[str, ...], ExpertsConfig]


def _runs(context: ComparisonContext, cell: AnyCell) -> Iterator[tuple[tuple[str, ...], RunConfig]]:
    """Yield (modalities, settings) for each run of a cell, or nothing if the cell does not need experts.

    A cell has one run for all modalities together, or one run per pair of modalities. Baselines do not need experts.
    """
    if not isinstance(cell, Cell) or not cell.config.distill.uses_experts:
        return
    if cell.config.joint:
        yield context.data.modalities, cell.config
        return
    for pair in combinations(context.data.modalities, 2):
        yield pair, cell.config.evolve(modalities=pair, joint=True)


def _experts(context: ComparisonContext, store: FolderStore, part: tuple[str, ...], config: RunConfig) -> SharedExperts:
    folder = store.experts_folder(context.data.only(part), {name: context.start[name] for name in part}, config)
    return SharedExperts(config, part, folder)
