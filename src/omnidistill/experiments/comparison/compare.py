"""A comparison: baselines and cells, run by an engine; what is finished is stored, failures are reported at the end.

    FOLDER/heads/             initial heads of every student
    FOLDER/experts/<key>/     shared by all methods that need them
    FOLDER/baselines/, FOLDER/cells/   results
    FOLDER/<name>.json, .md, .csv, .tex   the table; of the layout "curve" also .svg, its figure

The folder belongs to data and heads, not to one table: another comparison in it reuses what is there. Without a folder
everything stays in memory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from omnidistill.core.arguments import argument
from omnidistill.core.device import resolve_device
from omnidistill.core.engines import Engine, engine_in_use
from omnidistill.core.errors import InputError, OmnidistillError
from omnidistill.data.datasets import Data, opened
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.fingerprint import fingerprint
from omnidistill.evaluation.baselines import Baseline
from omnidistill.experiments.comparison.cells import Place, fit_baseline, load_result, make_cell
from omnidistill.experiments.comparison.plan import AnyCell, BaselineCell, Cell, plan_baselines, plan_cells
from omnidistill.experiments.comparison.remaining_time import Pace, Within
from omnidistill.experiments.comparison.result_store import FolderStore, MemoryStore
from omnidistill.experiments.comparison.summary import summarise
from omnidistill.experiments.comparison.units import Making, SharedExperts, plan_units
from omnidistill.experiments.config import (
    SHARED,
    ComparisonConfig,
    MethodEntry,
    RunConfig,
    SettingValues,
    load_comparison,
    load_config,
)
from omnidistill.experiments.run import InitialHeads, given_heads, heads_fingerprint, make_heads
from omnidistill.experiments.run.start_heads import GivenHeads
from omnidistill.io.artifacts import exclusive, read_json, write_atomic
from omnidistill.io.tracking import Progress, shown
from omnidistill.report.comparison_content import Comparison
from omnidistill.report.comparison_table import to_csv, to_markdown
from omnidistill.report.gain_figure import gain_figure
from omnidistill.report.latex import to_latex


@dataclass(frozen=True, repr=False)
class Compared:
    """The result of a comparison.

    Attributes:
        content: everything that was measured, the content of comparison.json.
        failures: {name of the cell: error}.
        folder: where everything is stored; None: nowhere.
    """

    content: Comparison
    failures: Mapping[str, str]
    folder: Path | None = None

    def table(self, layout: str | None = None) -> str:
        """Return the table as Markdown.

        Args:
            layout: name of a layout; None: that of the comparison.
        """
        return to_markdown(self.content, layout).rstrip("\n")

    def to_json(self) -> dict[str, Any]:
        """Return the content of comparison.json."""
        return self.content.to_json()

    def file(self, suffix: str) -> Path | None:
        """Return the path of the table (.md, .csv, .tex, .json) or figure (.svg); None if there is none."""
        if self.folder is None or (suffix == ".svg" and self.content.layout != "curve"):
            return None
        return self.folder / f"{self.content.name}{suffix}"

    def save(self, folder: str | Path) -> Compared:
        """Write the table as .json, .md, .csv, .tex, and in the layout "curve" its figure as .svg."""
        folder, name = Path(folder), self.content.name
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / f"{name}.json", json.dumps(self.to_json(), indent=1, allow_nan=False).encode())
        for suffix, render in (("md", to_markdown), ("csv", to_csv), ("tex", to_latex)):
            write_atomic(folder / f"{name}.{suffix}", render(self.content).encode())
        if self.content.layout == "curve":
            write_atomic(folder / f"{name}.svg", gain_figure(self.content).encode())
        return replace(self, folder=folder)

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"Compared({self.content.name} on {self.content.data.name}: {len(self.content.rows)} rows{failed})"


def compare(
    data: Data,
    methods: Sequence[str | MethodEntry] | str = (),
    *,
    sizes: Sequence[int] | int | None = None,
    bytes: Sequence[str] | str | None = None,
    seeds: Sequence[int] | int | None = None,
    num_students: int | None = None,
    baselines: Sequence[str | Baseline] | None = None,
    settings: SettingValues | None = None,
    layout: str | None = None,
    preset: str | None = None,
    config: ComparisonConfig | Path | None = None,
    heads: GivenHeads | None = None,
    name: str | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    engine: Engine | str = "local",
    device: str | torch.device = "auto",
    progress: Progress | bool = True,
    command: str = "",
) -> Compared:
    """Make and score a set for every method, size and seed, next to the baselines.

    A cell that fails is listed in `failures`; the others go on, and with a folder the next call tries it again.

    Args:
        data: a set, the name of a registered dataset, or the Path of a packed set.
        methods: names of presets, or entries with a label and settings of their own.
        sizes: numbers of synthetic rows (by default 100).
        bytes: size budgets instead: "64kB", or shares of the training features such as "1%".
        seeds: one set is made with each (by default 0, 1, 2).
        num_students: students trained on every set, and runs of every baseline (by default 5).
        baselines: what methods are compared with, by name or as objects; zero-shot and full are always among them.
        settings: settings of every method that has them, see `distill`.
        layout: table layout: retrieval, variants, cost, directions or curve.
        preset: name of a comparison that ships with the package.
        config: a complete comparison, or the Path of a TOML file, instead of a preset.
        heads: initial heads of every student; None: pre-trained on the split `heads`.
        name: name of the comparison and its files; None: that of the preset or file.
        folder: where all parts are kept; may hold other comparisons over the same data and heads. None: in memory.
        resume: continue in a folder that holds a comparison.
        engine: where cells are made: "local", "ray", "ray:ADDRESS"; the results are the same.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        progress: whether progress is shown, or the object that shows it.
        command: command line, recorded in the table.

    Raises:
        InputError: what `plan_cells` rejects, no test split, a folder of other data or heads, or one that is not empty
            without `resume`; an engine of several processes without a folder.
        KeyboardInterrupt: passed on; finished cells stay in the folder.
    """
    usual_name, comparison = load_comparison(
        config,
        preset,
        methods,
        sizes=sizes,
        bytes=bytes,
        seeds=seeds,
        num_students=num_students,
        baselines=baselines,
        settings=settings,
        layout=layout,
    )
    told, base = shown(progress), base_config(comparison)
    place = None if folder is None else Path(folder)
    features = opened(data)
    if base.modalities is not None:
        features = features.only(base.modalities)
    features.development(), features.split("test")  # a missing split is reported before an hour is spent
    cells = plan_cells(comparison, features)
    given, chosen_device = given_heads(heads, features.widths), resolve_device(device)
    with engine_in_use(engine, str(chosen_device)) as used, nullcontext() if place is None else exclusive(place):
        if place is None and not used.here:
            raise InputError(f"{argument('engine')}: an engine of several processes needs a folder; give one")
        if place is not None:
            _begin(place, features, resume)
        on_device = features.to(chosen_device)
        place_of_heads = place and place / "heads"
        start = make_heads(on_device, base, place_of_heads, given, told)
        if given is None:
            _require_settings(start, base, place_of_heads)
        store = MemoryStore() if place is None else FolderStore(place)
        inputs = Place(on_device, start, store, start.meta)
        rows = plan_baselines(comparison, base.evaluate, cells, on_device, start)
        every: list[AnyCell] = [*_needed_first(rows), *cells]
        missing = [cell for cell in every if not store.has(cell)]
        if used.here or not isinstance(store, FolderStore):
            failures = _make_here(inputs, every, missing, command, used, told)
        else:
            making = Making(
                features.location or features, features.modalities, base, store.folder, command, str(chosen_device)
            )
            failures = _make_elsewhere(inputs, store, making, missing, used, told)
        results = {cell: load_result(inputs, cell) for cell in every if store.has(cell)}
    content = summarise(
        comparison,
        rows,
        cells,
        results,
        failures,
        features,
        name=name or usual_name,
        command=command,
        heads=heads_fingerprint(start),
    )
    compared = Compared(content, {cell.folder: error for cell, error in failures.items()})
    return compared if place is None else compared.save(place)


def base_config(comparison: ComparisonConfig) -> RunConfig:
    """Return the settings that belong to no method: modalities, heads, evaluation, seed."""
    shared = [each for each in comparison.settings if each.strip().startswith(SHARED)]
    return load_config(
        preset="hopa", overrides=shared, seed=min(comparison.seeds), evaluate__num_seeds=comparison.num_students
    )


def _begin(folder: Path, data: FeatureSet, resume: bool) -> None:
    path = folder / "comparison.lock.json"
    marks = {"data": fingerprint(data), "test": fingerprint(data, ("test",))}
    if path.exists():
        if read_json(path) != marks:
            raise InputError(f"{folder}: holds a comparison over other data; choose another folder")
        if not resume:
            raise InputError(
                f"{folder}: holds a comparison; continue or add to it with {argument('resume', True)}, or choose "
                "another folder"
            )
        return
    if folder.exists() and any(entry.name != ".lock" for entry in folder.iterdir()):
        raise InputError(f"{folder}: exists and is not empty; choose another folder")
    write_atomic(path, json.dumps(marks).encode())


def _require_settings(start: InitialHeads, base: RunConfig, folder: Path | None) -> None:
    """Check that stored heads were pre-trained with these settings; given heads have no settings."""
    stored, expected = start.meta.get("config"), base.heads.model_dump(mode="json")
    if isinstance(stored, dict) and stored != expected:
        differing = ", ".join(
            f"heads.{name} = {json.dumps(stored.get(name))}" for name in expected if stored.get(name) != expected[name]
        )
        raise InputError(f"{folder}: was made with other settings ({differing}); repeat them, or choose another folder")


def _make_here(
    place: Place,
    cells: Sequence[AnyCell],
    missing: Sequence[AnyCell],
    command: str,
    engine: Engine,
    progress: Progress,
) -> dict[AnyCell, str]:
    """Make the missing cells in this process, one after the other; return why some failed."""
    pace, failures = Pace(list(map(_kind, missing))), dict[AnyCell, str]()

    def make(cell: AnyCell) -> None:
        started_at = time.monotonic()
        told = (f"{cells.index(cell) + 1}/{len(cells)}", pace.left(), cell.title)
        try:
            _make(place, cell, command, Within(progress, " ".join(filter(None, told))))
        finally:
            pace.done(_kind(cell), time.monotonic() - started_at)

    for done in engine.run(make, missing):
        if (failure := _failure(done.result)) is not None:
            failures[missing[done.number]] = failure
    return failures


def _make_elsewhere(
    place: Place,
    store: FolderStore,
    making: Making,
    cells: Sequence[AnyCell],
    engine: Engine,
    progress: Progress,
) -> dict[AnyCell, str]:
    """Make the cells in other processes, in parallel; return why some failed."""
    units, after = plan_units(place, store, cells)
    failures: dict[AnyCell, str] = {}
    with progress, closing(engine.run(making, units, after=after)) as finished:
        progress.start(len(units), "compare")
        for done in finished:
            unit, failure = units[done.number], _failure(done.result)
            if failure is not None and not isinstance(unit, SharedExperts):  # cells that read the experts report it
                failures[unit] = failure
            progress.advance(1)
    return {cell: failures[cell] for cell in cells if cell in failures}


def _make(place: Place, cell: AnyCell, command: str, progress: Progress) -> None:
    if isinstance(cell, Cell):
        make_cell(place, cell, command, progress)
    else:
        with progress:
            progress.start(1, "train")
            fit_baseline(place, cell)


def _needed_first(cells: Sequence[BaselineCell]) -> list[BaselineCell]:
    """The baselines, those that others are derived from first."""
    needed = {name for cell in cells for name in cell.baseline.needs}
    return sorted(cells, key=lambda cell: cell.baseline.kind not in needed)


def _failure(result: Callable[[], None]) -> str | None:
    """None, or why it failed; whatever a method does wrong, the others go on."""
    try:
        result()
    except Exception as error:
        name = "" if isinstance(error, OmnidistillError) else f"{type(error).__name__} "
        return " ".join(f"{name}{error}".split())
    return None


def _kind(cell: AnyCell) -> str:
    return cell.method if isinstance(cell, Cell) else cell.name
