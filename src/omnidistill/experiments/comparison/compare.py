"""Run a comparison: compute its cells and baselines, store their results, and report failures at the end.

A cell is one method with one size and one seed.

    FOLDER/heads/                          initial heads of every student
    FOLDER/experts/<key>/                  expert trajectories, shared by all methods that need them
    FOLDER/baselines/, FOLDER/cells/       results
    FOLDER/<name>.json, .md, .csv, .tex    the table; with the layout "curve" also a figure (.svg)

A folder belongs to one dataset and one choice of initial heads. It can contain several comparisons, which reuse each
other's results. Without a folder, everything stays in memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch

from omnidistill.core.arguments import argument
from omnidistill.core.device import resolve_device
from omnidistill.core.engines import Engine, engine_in_use
from omnidistill.core.errors import InputError
from omnidistill.data.datasets import Data, opened
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.fingerprint import fingerprint
from omnidistill.distillation.shipped_bytes import initial_heads_bytes
from omnidistill.evaluation.baselines import Baseline
from omnidistill.evaluation.scores import Scoring
from omnidistill.experiments.comparison.cells import ComparisonContext, load_result
from omnidistill.experiments.comparison.changed_names import note_changed_name, require_same_table
from omnidistill.experiments.comparison.compared import Compared
from omnidistill.experiments.comparison.plan import AnyCell, BaselineCell, plan_baselines, plan_cells
from omnidistill.experiments.comparison.process_cells import run_locally, run_on_workers
from omnidistill.experiments.comparison.result_store import FolderStore, MemoryStore
from omnidistill.experiments.comparison.summary import summarise
from omnidistill.experiments.comparison.units import UnitRunner
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
from omnidistill.experiments.table_baselines import dependencies_first
from omnidistill.io.artifacts import exclusive, write_atomic
from omnidistill.io.input_files import read_json
from omnidistill.io.tracking import Progress, shown
from omnidistill.io.tracking.progress_file import followable


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
    benchmark: str | None = None,
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
    """Distil and score a set for every method, size and seed, and compare the sets with the baselines.

    A cell (one method, size and seed) that fails is listed in `failures` of the result, and the other cells continue.
    If `folder` is given, the next call retries the failed cells.

    Args:
        data: a FeatureSet, the name of a registered dataset, or the Path of a packed dataset.
        methods: names of presets, or `MethodEntry` objects with a label and settings.
        sizes: numbers of synthetic rows (default: 100).
        bytes: size budgets, instead of `sizes`: "64kB", or shares of the training features such as "1%".
        seeds: random seeds; one set is distilled per seed (default: 0, 1, 2).
        num_students: number of students trained per set, and number of runs per baseline (default: 5).
        baselines: names of baselines, or `Baseline` objects. `zero-shot` and `full` are always included.
        settings: settings in the format of `distill`, added to those of the preset or TOML file. Each setting applies
            to every method that has it.
        layout: table layout: "retrieval", "variants", "cost", "directions" or "curve".
        preset: name of a comparison included in the package.
        benchmark: use the settings that the HoPA paper gives for this dataset: "msrvtt" (default), "vggsound" or
            "didemo". Only for presets that have settings for all three.
        config: a complete comparison, or the Path of a TOML file, instead of a preset.
        heads: initial heads of every student; None pre-trains them on the split `heads`.
        name: name of the comparison and its files; None uses the name of the preset or TOML file.
        folder: output folder, which can contain several comparisons on the same data and heads. None keeps everything
            in memory.
        resume: whether to continue in a folder that already contains a comparison.
        engine: where cells run: "local", "ray" or "ray:ADDRESS". The results are the same.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        progress: whether to show progress, or the object that shows it.
        command: command line, recorded in the table.

    Raises:
        InputError: a method, setting or size cannot be used (see `plan_cells`); there is no test split; a gallery is
            smaller than the K of a metric; the folder belongs to different data or heads; the folder is not empty and
            `resume` is False; or an engine with several processes is given without a folder.
        KeyboardInterrupt: the user interrupted the comparison; finished cells stay in the folder.
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
        benchmark=benchmark,
    )
    root, base = None if folder is None else Path(folder), base_config(comparison)
    if preset is not None:
        note_changed_name(preset, shown(progress))
    features = opened(data, base.modalities)
    features.development()
    Scoring.of(features.split("test"), base.evaluate)  # raises an error about splits or metrics before any work is done
    cells = plan_cells(comparison, features)
    given, chosen_device = given_heads(heads, features.widths), resolve_device(device)
    with (
        engine_in_use(engine, str(chosen_device)) as used,
        nullcontext() if root is None else exclusive(root),
        followable(shown(progress), root) as display,
    ):
        if root is None and not used.here:
            raise InputError(
                f"{argument('engine')}: an engine with several processes needs an output folder; pass a folder"
            )
        if root is not None:
            open_folder(root, features, resume)
            require_same_table(root / f"{usual_name if name is None else name}.json", {cell.method for cell in cells})
        on_device = features.to(chosen_device)
        heads_folder = root and root / "heads"
        start = load_or_create_heads(on_device, base, heads_folder, given, display)
        if given is None:
            require_settings(start, base, heads_folder)
        store = MemoryStore() if root is None else FolderStore(root)
        inputs = ComparisonContext(on_device, start, store, start.meta)
        rows = plan_baselines(comparison, base.evaluate, cells, on_device, start)
        all_cells: list[AnyCell] = [*needed_first(rows), *cells]
        stored = {cell: load_result(inputs, cell) for cell in all_cells if store.has(cell)}  # finds damage early
        missing = [cell for cell in all_cells if cell not in stored]
        if used.here or not isinstance(store, FolderStore):
            failures = run_locally(inputs, all_cells, stored, command, used, display)
        else:
            runner = UnitRunner(
                features.location or features, features.modalities, base, store.folder, command, str(chosen_device)
            )
            failures = run_on_workers(inputs, store, runner, missing, used, display)
        stored |= {cell: load_result(inputs, cell) for cell in missing if store.has(cell)}
        results = {cell: stored[cell] for cell in all_cells if cell in stored}
        content = summarise(
            comparison,
            rows,
            cells,
            results,
            failures,
            features,
            base.evaluate,
            name=name or usual_name,
            command=command,
            heads=heads_fingerprint(start),
            initial_heads=initial_heads_bytes(start),
        )
        compared = Compared(content, {cell.folder: error for cell, error in failures.items()})
        return compared if root is None else compared.save(root)


def base_config(comparison: ComparisonConfig) -> RunConfig:
    """Return a run configuration with the settings that all methods share: modalities, heads, evaluation and seed."""
    shared = [each for each in comparison.settings if each.strip().startswith(SHARED)]
    return load_config(
        preset="hopa", overrides=shared, seed=min(comparison.seeds), evaluate__num_seeds=comparison.num_students
    )


def open_folder(folder: Path, data: FeatureSet, resume: bool) -> None:
    """Create the folder of a comparison. If it exists, check that it belongs to the same data."""
    path = folder / "comparison.lock.json"
    fingerprints = {"data": fingerprint(data), "test": fingerprint(data, ("test",))}
    if path.exists():
        if read_json(path) != fingerprints:
            raise InputError(f"{folder}: contains a comparison on different data; choose another folder")
        if not resume:
            raise InputError(
                f"{folder}: already contains a comparison; continue or extend it with {argument('resume', True)}, or "
                "choose another folder"
            )
        return
    if folder.exists() and any(entry.name != ".lock" for entry in folder.iterdir()):
        raise InputError(f"{folder}: exists and is not empty; choose another folder")
    write_atomic(path, json.dumps(fingerprints).encode())


def require_settings(start: InitialHeads, base: RunConfig, folder: Path | None) -> None:
    """Raise InputError if the initial heads in the folder were pre-trained with other settings than requested."""
    stored, expected = start.meta.get("config"), base.heads.model_dump(mode="json")
    if isinstance(stored, dict) and stored != expected:
        differing = ", ".join(
            f"heads.{name} = {json.dumps(stored.get(name))}" for name in expected if stored.get(name) != expected[name]
        )
        raise InputError(
            f"{folder}: contains initial heads that were pre-trained with {differing}; use the same settings, or "
            "choose another folder"
        )


def needed_first(cells: Sequence[BaselineCell]) -> list[BaselineCell]:
    """Sort the baselines so that each baseline comes after the baselines whose results it needs."""
    ordered = [baseline.name for baseline in dependencies_first([cell.baseline for cell in cells])]
    return sorted(cells, key=lambda cell: ordered.index(cell.name))
