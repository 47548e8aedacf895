"""A comparison: baselines and cells, run by an engine; what is finished is stored, failures are reported at the end.

    FOLDER/heads/             where every student starts
    FOLDER/experts/<key>/     shared by all methods that want them
    FOLDER/baselines/, FOLDER/cells/   results
    FOLDER/<name>.json, .md, .csv, .tex   the table; of the layout "curve" also .svg, its figure

The folder belongs to data and heads, not to one table: another comparison in it takes what is there already.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from omnidistill.core.engines import Engine, LocalEngine
from omnidistill.core.errors import InputError, OmnidistillError
from omnidistill.data.featureset import FeatureSet
from omnidistill.experiments.comparison.cells import Place, fit_baseline, load_result, make_cell
from omnidistill.experiments.comparison.plan import AnyCell, BaselineCell, Cell, plan_baselines, plan_cells
from omnidistill.experiments.comparison.remaining_time import Pace, Within
from omnidistill.experiments.comparison.summary import summarise
from omnidistill.experiments.comparison.units import Making, SharedExperts, plan_units
from omnidistill.experiments.config import SHARED, ComparisonConfig, RunConfig, load_config
from omnidistill.experiments.run import fingerprint, heads_fingerprint, make_heads, open_data
from omnidistill.io.artifacts import exclusive, read_json, write_atomic
from omnidistill.io.tracking import Progress, SilentProgress
from omnidistill.models.heads import load_heads
from omnidistill.report.comparison_content import Comparison
from omnidistill.report.comparison_table import to_csv, to_markdown
from omnidistill.report.gain_figure import gain_figure
from omnidistill.report.latex import to_latex


@dataclass(frozen=True)
class Compared:
    """The result of a comparison.

    Attributes:
        content: the content of comparison.json.
        table: the Markdown table.
        failures: {name of the cell: error}.
        figure: the figure, if the layout has one.
    """

    content: Comparison
    table: Path
    failures: dict[str, str]
    figure: Path | None = None


def compare(
    reference: str,
    comparison: ComparisonConfig,
    folder: Path,
    *,
    name: str = "comparison",
    heads: Path | None = None,
    resume: bool = False,
    command: str = "",
    progress: Progress | None = None,
    engine: Engine | None = None,
) -> Compared:
    """Make every cell that is not there, then the table.

    Args:
        reference: a packed set, or "emoji".
        comparison: what to compare.
        folder: where all parts are kept; may hold other comparisons over the same data and heads.
        name: of the files that hold the table.
        heads: heads that every student starts from; pre-trained on the `heads` split when absent.
        resume: go on in a folder that holds a comparison.
        command: recorded.
        progress: shown while it works.
        engine: where cells are made, in this process by default; the results are the same.

    A cell that fails is told in the table and in `failures`; the others go on, and the next call tries it again.

    Raises:
        InputError: what `plan_cells` refuses, no test split, a folder of other data or heads, or one that is not empty
            without `resume`.
        KeyboardInterrupt: passed on; finished cells are kept.
    """
    progress = progress or SilentProgress()
    base = _base(comparison)
    data = open_data(reference, base)
    data.development(), data.split("test")  # a missing split is told before an hour is spent
    cells = plan_cells(comparison, data)
    if heads is not None:
        load_heads(heads, data.widths)
    with exclusive(folder):
        _begin(folder, data, resume)
        start = make_heads(data, base, folder / "heads", heads, progress)
        if heads is None:
            _require_heads_of(base, folder / "heads", data)
        place = Place(reference, data, start, folder)
        baselines = plan_baselines(comparison, base.evaluate, cells, data, start)
        every: list[AnyCell] = [*_needed_first(baselines), *cells]
        failures = _make_all(place, base, every, command, engine or LocalEngine(), progress)
        results = {cell: load_result(place, cell) for cell in every if place.has(cell)}
        content = summarise(
            comparison,
            baselines,
            cells,
            results,
            failures,
            data,
            name=name,
            command=command,
            heads=heads_fingerprint(start),
        )
        write_atomic(folder / f"{name}.json", json.dumps(content.to_json(), indent=1, allow_nan=False).encode())
        for suffix, render in (("md", to_markdown), ("csv", to_csv), ("tex", to_latex)):
            write_atomic(folder / f"{name}.{suffix}", render(content).encode())
        figure = folder / f"{name}.svg" if comparison.layout == "curve" else None
        if figure is not None:
            write_atomic(figure, gain_figure(content).encode())
    errors = {cell.folder: error for cell, error in failures.items()}
    return Compared(content, folder / f"{name}.md", errors, figure)


def _base(comparison: ComparisonConfig) -> RunConfig:
    """Settings that belong to no method: modalities, heads, evaluation, seed."""
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
                f"{folder}: holds a comparison; go on or add to it with --resume, or choose another folder"
            )
        return
    if folder.exists() and any(entry.name != ".lock" for entry in folder.iterdir()):
        raise InputError(f"{folder}: exists and is not empty; choose another folder")
    write_atomic(path, json.dumps(marks).encode())


def _require_heads_of(base: RunConfig, folder: Path, data: FeatureSet) -> None:
    """Check that stored heads were pre-trained with these settings; given heads have no settings."""
    stored = load_heads(folder, data.widths)[1].get("config")
    expected = base.heads.model_dump(mode="json")
    if isinstance(stored, dict) and stored != expected:
        differing = ", ".join(
            f"heads.{name} = {json.dumps(stored.get(name))}" for name in expected if stored.get(name) != expected[name]
        )
        raise InputError(f"{folder}: was made with other settings ({differing}); repeat them, or choose another folder")


def _make_all(
    place: Place, base: RunConfig, cells: Sequence[AnyCell], command: str, engine: Engine, progress: Progress
) -> dict[AnyCell, str]:
    """Make the cells that are not there; why some failed."""
    missing = [cell for cell in cells if not place.has(cell)]
    if not engine.here:
        return _make_units(place, base, missing, command, engine, progress)
    pace, failures = Pace(list(map(_kind, missing))), dict[AnyCell, str]()

    def make(cell: AnyCell) -> None:
        begun = time.monotonic()
        told = (f"{cells.index(cell) + 1}/{len(cells)}", pace.left(), cell.title)
        try:
            _make(place, cell, command, Within(progress, " ".join(filter(None, told))))
        finally:
            pace.done(_kind(cell), time.monotonic() - begun)

    for done in engine.run(make, missing):
        if (failure := _failure(done.result)) is not None:
            failures[missing[done.number]] = failure
    return failures


def _make_units(
    place: Place, base: RunConfig, cells: Sequence[AnyCell], command: str, engine: Engine, progress: Progress
) -> dict[AnyCell, str]:
    """The same where processes make them side by side."""
    units, after = plan_units(place, cells)
    making = Making(place.reference, base, place.folder, command)
    failures: dict[AnyCell, str] = {}
    with progress, closing(engine.run(making, units, after=after)) as finished:
        progress.start(len(units), "compare")
        for done in finished:
            unit, failure = units[done.number], _failure(done.result)
            if failure is not None and not isinstance(unit, SharedExperts):  # whoever reads the experts says it too
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
