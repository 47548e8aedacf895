"""The benchmark section on the task loss: an outer iteration compared with the matrix products that it cannot avoid,
its growth with the problem size, and the memory that each further step retains.
"""

from __future__ import annotations

from collections.abc import Callable

from measuring import Case, Cell, Extent, Table, interleaved, milliseconds, peak_megabytes, ratio
from omnidistill.core.threads import threads_for
from task_workloads import (
    BATCH,
    NUM_ROWS,
    REAL,
    SHAPES,
    STEPS,
    TaskProblem,
    task_iteration,
    task_problem,
    task_products,
)

SETTING = f"InfoNCE student and task, M = 3, T = {STEPS}, b = {BATCH}, N = {NUM_ROWS}, B = {REAL} real rows"
MEASURED = ("limit", "dual")


def section(extent: Extent) -> list[Table]:
    return [_iteration(extent), *_growth(extent), _memory(extent)]


def _iteration(extent: Extent) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for shape, (widths, width) in SHAPES.items():
        posed = task_problem(shape, device=extent.device)
        for outer in ("task", "matching + task"):
            times = _times(posed, 5 if extent.quick else 11, extent, matching=outer != "task")
            named = f"{shape}: {', '.join(map(str, widths))} -> {width}"
            rows.append(
                (named, outer, *(milliseconds(times[case]) for case in MEASURED), ratio(times, "dual", "limit"))
            )
    note = (
        f"Forward pass, loss of the trained student on real rows, and backward pass; {SETTING}; as many threads as the "
        "outer loop uses (one at emoji widths). limit: only the matrix products of both passes, including those of the "
        "steps, the real rows and their logits."
    )
    return Table("Task loss", note, ("widths", "outer objective", "limit, ms", "dual, ms", "/ limit"), tuple(rows))


def _growth(extent: Extent) -> list[Table]:
    device = extent.device
    dimensions: dict[str, tuple[tuple[int, ...], Callable[[int], TaskProblem]]] = {
        "N": ((50, 100, 200, 400), lambda size: task_problem("emoji", num_rows=size, device=device)),
        "T": ((16, 32, 64, 128, 256), lambda size: task_problem("emoji", num_steps=size, device=device)),
        "V": ((1, 2, 4), lambda size: task_problem("emoji", num_views=size, device=device)),
        "B": ((128, 256, 512, 1024), lambda size: task_problem("emoji", num_real=size, device=device)),
    }
    names = {"N": "synthetic rows", "T": "student steps", "V": "views of a row", "B": "real rows"}
    tables = []
    for symbol, (sizes, problem) in dimensions.items():
        rows: list[tuple[Cell, ...]] = []
        for size in sizes[::2] if extent.quick else sizes:
            times = _times(problem(size), 3 if extent.quick else 7, extent, matching=False)
            rows.append((size, *(milliseconds(times[case]) for case in MEASURED), ratio(times, "dual", "limit")))
        note = (
            f"Time in ms by number of {names[symbol]}, at emoji widths with the task loss alone; otherwise {SETTING}."
        )
        tables.append(
            Table(f"Growth of the task loss with {symbol}", note, (symbol, *MEASURED, "/ limit"), tuple(rows))
        )
    return tables


def _memory(extent: Extent) -> Table:
    steps = (64, 256) if extent.quick else (64, 128, 256)
    rows: list[tuple[Cell, ...]] = []
    for shape, (widths, width) in SHAPES.items():
        peaks = [peak_megabytes("task", shape, num_steps, device=extent.device) for num_steps in steps]
        a_step = (peaks[-1] - peaks[0]) / (steps[-1] - steps[0])
        rows.append((shape, *peaks, a_step, 4 * BATCH * len(widths) * width / 2**20, 4 * sum(widths) * width / 2**20))
    note = (
        "Peak memory in MB of two iterations with matching and task loss, minus that of the inputs; each number is "
        f"from a fresh process; M = 3, b = {BATCH}, N = {NUM_ROWS}, B = {REAL}. a step: growth per step from the "
        "smallest to the largest T. A step retains the outputs of its batch and their gradient (M b d numbers each) "
        "and matrices of M b x M b, but nothing of the size of the heads (last column)."
    )
    columns = ("widths", *(f"T = {size}" for size in steps), "a step", "M b d", "heads")
    return Table("Peak memory of the task loss", note, columns, tuple(rows))


def _times(posed: TaskProblem, turns: int, extent: Extent, *, matching: bool) -> dict[str, list[float]]:
    cases: dict[str, Case] = {
        "limit": lambda: task_products(posed, matching=matching),
        "dual": lambda: task_iteration(posed, matching=matching),
    }
    start = posed.made.start
    widths = {name: matrix.shape[1] for name, matrix in start.items()}
    num_rows = len(next(iter(posed.form.expand(posed.made.rows).values())))
    with threads_for(num_rows, widths, len(next(iter(start.values())))):
        return interleaved(cases, turns, extent.device)
