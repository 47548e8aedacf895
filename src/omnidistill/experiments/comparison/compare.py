"""Run a comparison: an engine processes baselines and cells, results are stored, and failures are reported at the end.

    FOLDER/heads/             initial heads of every student
    FOLDER/experts/<key>/     shared by all methods that need them
    FOLDER/baselines/, FOLDER/cells/   results
    FOLDER/<name>.json, .md, .csv, .tex   the table; with the layout "curve" also a figure (.svg)

A folder belongs to data and heads, not to one table: other comparisons in the same folder reuse its results. Without a
folder everything stays in memory.
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
from omnidistill.experiments.comparison.cells import ComparisonContext, fit_baseline, load_result, run_cell
from omnidistill.experiments.comparison.plan import AnyCell, BaselineCell, Cell, plan_baselines, plan_cells
from omnidistill.experiments.comparison.remaining_time import LabelledProgress, RemainingTime
from omnidistill.experiments.comparison.result_store import FolderStore, MemoryStore
from omnidistill.experiments.comparison.summary import summarise
from omnidistill.experiments.comparison.units import SharedExperts, UnitRunner, plan_units
from omnidistill.experiments.config import (
    SHARED,
    ComparisonConfig,
    MethodEntry,
    RunConfig,
    SettingValues,
    load_comparison,
    load_config,
)
from omnidistill.experiments.run import InitialHeads, given_heads, heads_fingerprint, load_or_create_heads
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
        folder: the folder of the comparison; None if nothing was stored.
    """

    content: Comparison
    failures: Mapping[str, str]
    folder: Path | None = None

    def table(self, layout: str | None = None) -> str:
        """Return the table as Markdown.

        Args:
            layout: name of a layout; None uses that of the comparison.
        """
        return to_markdown(self.content, layout).rstrip("\n")

    def to_json(self) -> dict[str, Any]:
        """Return the content of comparison.json."""
        return self.content.to_json()

    def file(self, suffix: str) -> Path | None:
        """Return the path of the table (.md, .csv, .tex, .json) or figure (.svg); None if it was not stored."""
        if self.folder is None or (suffix == ".svg" and self.content.layout != "curve"):
            return None
        return self.folder / f"{self.content.name}{suffix}"

    def save(self, folder: str | Path) -> Compared:
        """Write the table as .json, .md, .csv and .tex, and with the layout "curve" the figure as .svg."""
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
    """Distil and score a set for every method, size and seed, and compare them with the baselines.

    If a cell fails, it is listed in `failures` and the other cells continue. With a folder, the next call retries it.

    Args:
        data: a set, the name of a registered dataset, or the Path of a packed set.
        methods: names of presets, or entries with their own label and settings.
        sizes: numbers of synthetic rows (by default 100).
        bytes: size budgets instead: "64kB", or shares of the training features such as "1%".
        seeds: one set is distilled per seed (by default 0, 1, 2).
        num_students: students trained per set, and runs per baseline (by default 5).
        baselines: baselines by name or as objects; zero-shot and full are always included.
        settings: settings for all methods that have them, see `distill`.
        layout: table layout: retrieval, variants, cost, directions or curve.
        preset: name of a comparison included in the package.
        config: a complete comparison, or the Path of a TOML file, instead of a preset.
        heads: initial heads of every student; None pre-trains them on the split `heads`.
        name: name of the comparison and its files; None uses that of the preset or file.
        folder: folder of the comparison; may contain other comparisons over the same data and heads. None keeps
            everything in memory.
        resume: continue in a folder that contains a comparison.
        engine: where cells run: "local", "ray", "ray:ADDRESS"; the results are the same.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        progress: whether to show progress, or the object that shows it.
        command: command line, recorded in the table.

    Raises:
        InputError: `plan_cells` rejects the comparison; there is no test split; the folder belongs to other data or
            heads, or is not empty and `resume` is False; or an engine of several processes is given without a folder.
        KeyboardInterrupt: finished cells stay in the folder.
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
    display, base = shown(progress), base_config(comparison)
    root = None if folder is None else Path(folder)
    features = opened(data)
    if base.modalities is not None:
        features = features.only(base.modalities)
    features.development(), features.split("test")  # reports a missing split before any work is done
    cells = plan_cells(comparison, features)
    given, chosen_device = given_heads(heads, features.widths), resolve_device(device)
    with engine_in_use(engine, str(chosen_device)) as used, nullcontext() if root is None else exclusive(root):
        if root is None and not used.here:
            raise InputError(f"{argument('engine')}: an engine of several processes needs a folder; pass one")
        if root is not None:
            _open_folder(root, features, resume)
        on_device = features.to(chosen_device)
        heads_folder = root and root / "heads"
        start = load_or_create_heads(on_device, base, heads_folder, given, display)
        if given is None:
            _require_settings(start, base, heads_folder)
        store = MemoryStore() if root is None else FolderStore(root)
        inputs = ComparisonContext(on_device, start, store, start.meta)
        rows = plan_baselines(comparison, base.evaluate, cells, on_device, start)
        all_cells: list[AnyCell] = [*_needed_first(rows), *cells]
        missing = [cell for cell in all_cells if not store.has(cell)]
        if used.here or not isinstance(store, FolderStore):
            failures = _run_locally(inputs, all_cells, missing, command, used, display)
        else:
            runner = UnitRunner(
                features.location or features, features.modalities, base, store.folder, command, str(chosen_device)
            )
            failures = _run_on_workers(inputs, store, runner, missing, used, display)
        results = {cell: load_result(inputs, cell) for cell in all_cells if store.has(cell)}
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
    return compared if root is None else compared.save(root)


def base_config(comparison: ComparisonConfig) -> RunConfig:
    """Return the settings that all methods share: modalities, heads, evaluation, seed."""
    shared = [each for each in comparison.settings if each.strip().startswith(SHARED)]
    return load_config(
        preset="hopa", overrides=shared, seed=min(comparison.seeds), evaluate__num_seeds=comparison.num_students
    )


def _open_folder(folder: Path, data: FeatureSet, resume: bool) -> None:
    """Create the folder of a comparison, or check that an existing one belongs to these data."""
    path = folder / "comparison.lock.json"
    fingerprints = {"data": fingerprint(data), "test": fingerprint(data, ("test",))}
    if path.exists():
        if read_json(path) != fingerprints:
            raise InputError(f"{folder}: contains a comparison over other data; choose another folder")
        if not resume:
            raise InputError(
                f"{folder}: contains a comparison; continue or add to it with {argument('resume', True)}, or choose "
                "another folder"
            )
        return
    if folder.exists() and any(entry.name != ".lock" for entry in folder.iterdir()):
        raise InputError(f"{folder}: exists and is not empty; choose another folder")
    write_atomic(path, json.dumps(fingerprints).encode())


def _require_settings(start: InitialHeads, base: RunConfig, folder: Path | None) -> None:
    """Check that stored heads were pre-trained with these settings; given heads have no settings."""
    stored, expected = start.meta.get("config"), base.heads.model_dump(mode="json")
    if isinstance(stored, dict) and stored != expected:
        differing = ", ".join(
            f"heads.{name} = {json.dumps(stored.get(name))}" for name in expected if stored.get(name) != expected[name]
        )
        raise InputError(
            f"{folder}: was created with other settings ({differing}); use the same ones, or choose another folder"
        )


def _run_locally(
    context: ComparisonContext,
    cells: Sequence[AnyCell],
    missing: Sequence[AnyCell],
    command: str,
    engine: Engine,
    progress: Progress,
) -> dict[AnyCell, str]:
    """Process the missing cells one after the other in this process; return {failed cell: error}."""
    remaining, failures = RemainingTime(list(map(_kind, missing))), dict[AnyCell, str]()

    def process(cell: AnyCell) -> None:
        started_at = time.monotonic()
        label = (f"{cells.index(cell) + 1}/{len(cells)}", remaining.estimate(), cell.title)
        try:
            _process(context, cell, command, LabelledProgress(progress, " ".join(filter(None, label))))
        finally:
            remaining.record(_kind(cell), time.monotonic() - started_at)

    for done in engine.run(process, missing):
        if (failure := _failure(done.result)) is not None:
            failures[missing[done.number]] = failure
    return failures


def _run_on_workers(
    context: ComparisonContext,
    store: FolderStore,
    runner: UnitRunner,
    cells: Sequence[AnyCell],
    engine: Engine,
    progress: Progress,
) -> dict[AnyCell, str]:
    """Process the cells in other processes in parallel; return {failed cell: error}."""
    units, after = plan_units(context, store, cells)
    failures: dict[AnyCell, str] = {}
    with progress, closing(engine.run(runner, units, after=after)) as finished:
        progress.start(len(units), "compare")
        for done in finished:
            unit, failure = units[done.number], _failure(done.result)
            if failure is not None and not isinstance(unit, SharedExperts):  # the cells that need the experts report it
                failures[unit] = failure
            progress.advance(1)
    return {cell: failures[cell] for cell in cells if cell in failures}


def _process(context: ComparisonContext, cell: AnyCell, command: str, progress: Progress) -> None:
    if isinstance(cell, Cell):
        run_cell(context, cell, command, progress)
    else:
        with progress:
            progress.start(1, "train")
            fit_baseline(context, cell)


def _needed_first(cells: Sequence[BaselineCell]) -> list[BaselineCell]:
    """Return the baselines; those that others are derived from come first."""
    needed = {name for cell in cells for name in cell.baseline.needs}
    return sorted(cells, key=lambda cell: cell.baseline.kind not in needed)


def _failure(result: Callable[[], None]) -> str | None:
    """Return the error of a unit as one line, None if it succeeded. Any exception ends only its own unit."""
    try:
        result()
    except Exception as error:
        name = "" if isinstance(error, OmnidistillError) else f"{type(error).__name__} "
        return " ".join(f"{name}{error}".split())
    return None


def _kind(cell: AnyCell) -> str:
    return cell.method if isinstance(cell, Cell) else cell.name
