"""Compute the missing results of a comparison, in this process or in parallel processes.

A *cell* is one result: of a method with one size and one seed, or of a baseline.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

from omnidistill.core.engines import Engine
from omnidistill.core.errors import OmnidistillError
from omnidistill.core.memory import out_of_memory
from omnidistill.experiments.comparison.cells import ComparisonContext, Result, fit_baseline, run_cell
from omnidistill.experiments.comparison.plan import AnyCell, Cell
from omnidistill.experiments.comparison.remaining_time import LabelledProgress, RemainingTime
from omnidistill.experiments.comparison.result_store import FolderStore
from omnidistill.experiments.comparison.units import SharedExperts, UnitRunner, plan_units
from omnidistill.io.tracking import Progress


def run_locally(
    context: ComparisonContext,
    cells: Sequence[AnyCell],
    stored: Mapping[AnyCell, Result],
    command: str,
    engine: Engine,
    progress: Progress,
) -> dict[AnyCell, str]:
    """Compute all cells that are not in `stored`, one after the other, in this process.

    A cell is a method with one size and one seed, or a baseline. Return the error message of each failed cell.
    """
    missing, failures = [cell for cell in cells if cell not in stored], dict[AnyCell, str]()
    known = [(_kind(cell), sum(result.meta["seconds"].values())) for cell, result in stored.items()]
    remaining = RemainingTime([_kind(cell) for cell in missing], known)

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


def run_on_workers(
    context: ComparisonContext,
    store: FolderStore,
    runner: UnitRunner,
    cells: Sequence[AnyCell],
    engine: Engine,
    progress: Progress,
) -> dict[AnyCell, str]:
    """Compute cells of a comparison in parallel, in other processes. Return the error of each failed cell.

    A cell is a method with one size and one seed, or a baseline.
    """
    units, after = plan_units(context, store, cells)
    failures: dict[AnyCell, str] = {}
    with progress, closing(engine.run(runner, units, after=after)) as finished:
        progress.start(len(units), "compare")
        for done in finished:
            unit, failure = units[done.number], _failure(done.result)
            if failure is not None and not isinstance(unit, SharedExperts):  # cells that need these experts report it
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


def _failure(result: Callable[[], None]) -> str | None:
    """Return the error message of a failed unit of work as one line, or None if the unit succeeded."""
    try:
        result()
    except Exception as error:
        return error_line(error)
    return None


def error_line(error: Exception) -> str:
    """Return the message of an error as one line, preceded by the type of the error if another package raised it."""
    if out_of_memory(error):
        return "out of memory"
    name = "" if isinstance(error, OmnidistillError) else f"{type(error).__name__} "
    return " ".join(f"{name}{error}".split())


def _kind(cell: AnyCell) -> str:
    return cell.method if isinstance(cell, Cell) else cell.name
